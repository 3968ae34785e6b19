-- Credits: what teams may spend. One credit is one email, or one segment of an SMS.

CREATE TABLE credit_account (
    name TEXT PRIMARY KEY,
    granted INTEGER NOT NULL DEFAULT 0 CHECK (granted >= 0),
    held INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),     -- the sum of its holds
    spent INTEGER NOT NULL DEFAULT 0 CHECK (spent >= 0),
    low_at INTEGER NOT NULL DEFAULT 0 CHECK (low_at >= 0), -- fewer available are told, once
    told_low INTEGER NOT NULL DEFAULT 0,
    topped_up INTEGER NOT NULL DEFAULT 0,                  -- grants that campaigns waited for, and nobody looked yet
    created_at REAL NOT NULL,
    CHECK (granted - held - spent >= 0)
) STRICT, WITHOUT ROWID;

-- What is held for a campaign, or for a one-off message. It outlives them: it has what they spent.
CREATE TABLE credit_hold (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL REFERENCES credit_account (name),
    campaign_id INTEGER NOT NULL,
    campaign TEXT NOT NULL,              -- its name; '' for one-off messages
    delivery_id INTEGER,                 -- of a one-off message, NULL for a campaign
    held INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
    at_risk INTEGER NOT NULL DEFAULT 0 CHECK (at_risk >= 0), -- of these, for messages that are sent now or in doubt
    spent INTEGER NOT NULL DEFAULT 0 CHECK (spent >= 0),
    cleared INTEGER NOT NULL DEFAULT 0,  -- of what was spent, for messages that were removed since
    CHECK (held >= at_risk)
) STRICT;
CREATE UNIQUE INDEX credit_hold_campaign ON credit_hold (campaign_id) WHERE delivery_id IS NULL;
CREATE UNIQUE INDEX credit_hold_delivery ON credit_hold (delivery_id) WHERE delivery_id IS NOT NULL;
CREATE INDEX credit_hold_account ON credit_hold (account);

-- What an attempt costs: one row each, so that none can be paid for twice. The row of an attempt that was refused
-- goes, and that of one that was accepted is marked as spent.
CREATE TABLE credit_use (
    delivery_id INTEGER NOT NULL,
    n INTEGER NOT NULL,
    hold_id INTEGER NOT NULL,
    credits INTEGER NOT NULL CHECK (credits > 0),
    spent INTEGER NOT NULL DEFAULT 0 CHECK (spent IN (0, 1)),
    PRIMARY KEY (delivery_id, n)
) STRICT, WITHOUT ROWID;

-- The log of each account, for people. What a campaign spent is in its hold.
CREATE TABLE credit_entry (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    account TEXT NOT NULL REFERENCES credit_account (name),
    kind TEXT NOT NULL CHECK (kind IN ('granted', 'taken_back', 'reserved', 'released')),
    credits INTEGER NOT NULL CHECK (credits > 0),
    hold_id INTEGER REFERENCES credit_hold (id),
    note TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX credit_entry_account ON credit_entry (account, id);
CREATE INDEX credit_entry_hold ON credit_entry (hold_id, id) WHERE hold_id IS NOT NULL;

-- The account that pays for a campaign; '' for none.
ALTER TABLE campaign ADD COLUMN credits TEXT NOT NULL DEFAULT '';
