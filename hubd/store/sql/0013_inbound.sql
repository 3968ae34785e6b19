-- What comes back about messages: receipts, bounces, complaints, replies, opt-outs.

-- Deliveries after this one have a Message-ID that tells which they are (see hubd/core/tokens.py). Those before
-- it keep the one that they may have been sent with.
ALTER TABLE hub ADD COLUMN named_after INTEGER NOT NULL DEFAULT 0;
UPDATE hub SET named_after = coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'delivery'), 0);

-- How far each source was read: changed in the transaction that has the effects of what was read.
CREATE TABLE inbound_source (
    name TEXT PRIMARY KEY,               -- "mailbox bounces", "provider ses"
    cursor TEXT NOT NULL,
    read_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- What people may want to read. Receipts are not in it: they are too many, and only move states.
CREATE TABLE inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    key TEXT NOT NULL,                   -- names it within its source: read again, it changes nothing
    kind TEXT NOT NULL CHECK (kind IN ('bounce', 'complaint', 'opt_out', 'opt_in', 'reply')),
    at REAL NOT NULL,
    booked_at REAL NOT NULL,
    delivery_id INTEGER,                 -- NULL: about no message of ours
    campaign_id INTEGER,
    matched_by TEXT NOT NULL DEFAULT '', -- how it is known whose message it is about
    channel TEXT NOT NULL CHECK (channel IN ('email', 'sms')),
    address_key TEXT NOT NULL,           -- whom it is about, or who wrote; '' once the contact was removed
    reason TEXT NOT NULL DEFAULT '',
    code INTEGER NOT NULL DEFAULT 0,
    enhanced TEXT NOT NULL DEFAULT '',
    vendor TEXT NOT NULL DEFAULT '',
    words TEXT NOT NULL DEFAULT '',      -- the server's, without addresses
    sender TEXT NOT NULL DEFAULT '',
    subject TEXT NOT NULL DEFAULT '',
    text TEXT NOT NULL DEFAULT '',
    quoted TEXT NOT NULL DEFAULT '',
    message_id TEXT NOT NULL DEFAULT '', -- its own
    decision TEXT NOT NULL DEFAULT '' CHECK (decision IN ('', 'waiting', 'opt_out', 'continue')),
    decided_at REAL,
    answer_id INTEGER,                   -- the delivery that answers it
    UNIQUE (source, key)
) STRICT;
CREATE INDEX inbox_delivery ON inbox (delivery_id, kind) WHERE delivery_id IS NOT NULL;
CREATE INDEX inbox_campaign ON inbox (campaign_id, id) WHERE campaign_id IS NOT NULL;
CREATE INDEX inbox_kind ON inbox (kind, id) WHERE delivery_id IS NOT NULL;
CREATE INDEX inbox_unmatched ON inbox (id) WHERE delivery_id IS NULL;
CREATE INDEX inbox_waiting ON inbox (id) WHERE decision = 'waiting';
CREATE INDEX inbox_address ON inbox (address_key) WHERE address_key <> '';

-- Bounces that suppress an address only together with others, until a message arrives.
CREATE TABLE soft_bounce (
    channel TEXT NOT NULL,
    address_key TEXT NOT NULL,
    delivery_id INTEGER NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (channel, address_key, delivery_id)
) STRICT, WITHOUT ROWID;

-- To whom no campaign sends until a person has decided about what they wrote.
CREATE TABLE held_address (
    channel TEXT NOT NULL,
    address_key TEXT NOT NULL,
    inbox_id INTEGER NOT NULL REFERENCES inbox (id) ON DELETE CASCADE,
    PRIMARY KEY (channel, address_key, inbox_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX held_by ON held_address (inbox_id);

-- How much came back for a campaign; see hubd/core/measures.py.
ALTER TABLE campaign_count ADD COLUMN n_bounced INTEGER NOT NULL DEFAULT 0 CHECK (n_bounced >= 0);
ALTER TABLE campaign_count ADD COLUMN n_complaints INTEGER NOT NULL DEFAULT 0 CHECK (n_complaints >= 0);
ALTER TABLE campaign_count ADD COLUMN n_replies INTEGER NOT NULL DEFAULT 0 CHECK (n_replies >= 0);
ALTER TABLE campaign_count ADD COLUMN n_opt_outs INTEGER NOT NULL DEFAULT 0 CHECK (n_opt_outs >= 0);
