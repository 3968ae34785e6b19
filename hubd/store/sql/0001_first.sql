-- The first schema. Times are seconds since the Unix epoch (UTC); addresses are normalised.
-- Every table is STRICT; counters are tied to what they count by CHECK constraints. JSON columns have no
-- json_valid() check: SQLite 3.40 refuses that function in a schema that is not trusted.

-- One row: what this installation is and how it last ended.
CREATE TABLE hub (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    install_key BLOB NOT NULL,           -- secret from which Message-IDs are derived
    instance_id TEXT NOT NULL,
    epoch INTEGER NOT NULL DEFAULT 0,    -- grows by one at each open
    clean INTEGER NOT NULL DEFAULT 1,    -- 0 while open: an open that finds 0 checks the indexes, too
    created_at REAL NOT NULL
) STRICT;

-- Filler that the probe writes and removes, to learn whether the disk takes data again.
CREATE TABLE probe (id INTEGER PRIMARY KEY, filler BLOB NOT NULL) STRICT;

CREATE TABLE contact (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    public_id TEXT NOT NULL UNIQUE DEFAULT (lower(hex(randomblob(8)))),
    email TEXT,                          -- as it is sent to
    email_key TEXT UNIQUE,               -- as it is compared
    phone TEXT UNIQUE,                   -- E.164
    fields TEXT NOT NULL DEFAULT '{}',
    import_id TEXT NOT NULL DEFAULT '',  -- the import that saw it last: finds duplicates within one file
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    CHECK (email_key IS NOT NULL OR phone IS NOT NULL),
    CHECK ((email IS NULL) = (email_key IS NULL))
) STRICT;

CREATE TABLE list (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at REAL NOT NULL
) STRICT;

-- AUTOINCREMENT: ids only grow, so "all memberships up to id N" is the audience at one instant.
CREATE TABLE membership (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    list_id INTEGER NOT NULL REFERENCES list (id) ON DELETE CASCADE,
    contact_id INTEGER NOT NULL REFERENCES contact (id) ON DELETE CASCADE,
    UNIQUE (list_id, contact_id)
) STRICT;
CREATE INDEX membership_contact ON membership (contact_id);

-- Addresses that nothing is sent to. Outlives the contact.
CREATE TABLE suppression (
    channel TEXT NOT NULL CHECK (channel IN ('email', 'sms')),
    address_key TEXT NOT NULL,
    reason TEXT NOT NULL,
    source TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (channel, address_key)
) STRICT, WITHOUT ROWID;

-- What is said, once per distinct content.
CREATE TABLE content (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash TEXT NOT NULL UNIQUE,
    spec TEXT NOT NULL,
    created_at REAL NOT NULL
) STRICT;

-- The bytes of attachments, in parts as they came.
CREATE TABLE blob (
    sha256 TEXT PRIMARY KEY,
    size INTEGER NOT NULL CHECK (size >= 0),
    received INTEGER NOT NULL DEFAULT 0 CHECK (received BETWEEN 0 AND size),
    complete INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE blob_part (
    id INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL REFERENCES blob (sha256) ON DELETE CASCADE,
    start INTEGER NOT NULL,
    data BLOB NOT NULL,
    UNIQUE (sha256, start)
) STRICT;

CREATE TABLE campaign (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    channel TEXT NOT NULL CHECK (channel IN ('email', 'sms')),
    provider TEXT NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('draft', 'scheduled', 'running', 'paused', 'stopped', 'completed', 'failed')),
    reason TEXT NOT NULL DEFAULT '',
    revision INTEGER NOT NULL DEFAULT 1,
    spec TEXT NOT NULL,
    lists TEXT NOT NULL DEFAULT '[]',
    content_id INTEGER NOT NULL REFERENCES content (id),
    doubt_policy TEXT NOT NULL CHECK (doubt_policy IN ('retry', 'hold')),
    rate TEXT NOT NULL DEFAULT '[]',
    give_up_after REAL NOT NULL DEFAULT 86400.0 CHECK (give_up_after >= 0),
    send_window TEXT NOT NULL DEFAULT '',
    send_limit INTEGER CHECK (send_limit > 0),
    single INTEGER NOT NULL DEFAULT 0,
    doomed INTEGER NOT NULL DEFAULT 0,   -- deleted, its rows are still being removed
    -- freezing the audience: memberships up to freeze_to, list by list, contact by contact
    freeze_to INTEGER,
    freeze_list INTEGER NOT NULL DEFAULT 0,
    freeze_after INTEGER NOT NULL DEFAULT 0,
    audience_ready INTEGER NOT NULL DEFAULT 0,
    -- how many deliveries are in each state; changed in the transaction that changes the deliveries
    n_total INTEGER NOT NULL DEFAULT 0,
    n_pending INTEGER NOT NULL DEFAULT 0 CHECK (n_pending >= 0),
    n_deferred INTEGER NOT NULL DEFAULT 0 CHECK (n_deferred >= 0),
    n_sending INTEGER NOT NULL DEFAULT 0 CHECK (n_sending >= 0),
    n_sent INTEGER NOT NULL DEFAULT 0 CHECK (n_sent >= 0),
    n_delivered INTEGER NOT NULL DEFAULT 0 CHECK (n_delivered >= 0),
    n_undelivered INTEGER NOT NULL DEFAULT 0 CHECK (n_undelivered >= 0),
    n_failed INTEGER NOT NULL DEFAULT 0 CHECK (n_failed >= 0),
    n_skipped INTEGER NOT NULL DEFAULT 0 CHECK (n_skipped >= 0),
    n_in_doubt INTEGER NOT NULL DEFAULT 0 CHECK (n_in_doubt >= 0),
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    scheduled_at REAL,
    started_at REAL,
    completed_at REAL,
    last_error TEXT NOT NULL DEFAULT '',
    CHECK (n_total = n_pending + n_deferred + n_sending + n_sent + n_delivered + n_undelivered
                     + n_failed + n_skipped + n_in_doubt)
) STRICT;

-- One row per recipient of a campaign. `fields` is the contact as it was when the audience was frozen.
CREATE TABLE delivery (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    campaign_id INTEGER NOT NULL REFERENCES campaign (id),
    single INTEGER NOT NULL DEFAULT 0,
    recipient TEXT NOT NULL,
    address_key TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'deferred', 'sending', 'sent', 'delivered', 'undelivered',
                         'failed', 'skipped', 'in_doubt')),
    reason TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT '',
    code INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0, -- tries that count
    withdrawn INTEGER NOT NULL DEFAULT 0, -- opened tries that did not happen after all
    doubts INTEGER NOT NULL DEFAULT 0,   -- how often it was sent again although it may have been accepted
    next_at REAL,                        -- not before this time
    first_attempt_at REAL,
    updated_at REAL NOT NULL,
    provider_id TEXT NOT NULL DEFAULT '',
    message_id TEXT NOT NULL DEFAULT '',
    content_id INTEGER REFERENCES content (id), -- NULL: the campaign's
    fields TEXT NOT NULL
) STRICT;
-- Nobody is in one campaign twice.
CREATE UNIQUE INDEX delivery_once ON delivery (campaign_id, address_key) WHERE single = 0;
-- A campaign's deliveries in id order.
CREATE INDEX delivery_campaign ON delivery (campaign_id);
-- What may be tried, in id order, with the time in the index so that rows not yet due cost little.
-- (Spelled with OR, because a query for one of the states then uses a partial index; with IN it would not.)
CREATE INDEX delivery_due ON delivery (campaign_id, id, next_at)
    WHERE state = 'pending' OR state = 'deferred';
-- What has to wait, and until when.
CREATE INDEX delivery_later ON delivery (campaign_id, next_at)
    WHERE next_at IS NOT NULL AND (state = 'pending' OR state = 'deferred');
-- What went wrong: small in a healthy campaign.
CREATE INDEX delivery_trouble ON delivery (campaign_id, state)
    WHERE state = 'failed' OR state = 'in_doubt' OR state = 'undelivered' OR state = 'skipped';

-- One row per try.
CREATE TABLE attempt (
    id INTEGER PRIMARY KEY,
    delivery_id INTEGER NOT NULL REFERENCES delivery (id),
    n INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    provider TEXT NOT NULL,
    message_id TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    opened_at REAL NOT NULL,
    closed_at REAL,
    outcome TEXT
        CHECK (outcome IN ('sent', 'deferred', 'failed', 'skipped', 'in_doubt', 'withdrawn')),
    stage TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT '',
    code INTEGER NOT NULL DEFAULT 0,
    enhanced TEXT NOT NULL DEFAULT '',
    vendor INTEGER NOT NULL DEFAULT 0,
    provider_id TEXT NOT NULL DEFAULT '',
    UNIQUE (delivery_id, n),
    CHECK ((outcome IS NULL) = (closed_at IS NULL))
) STRICT;
-- A second open attempt for one delivery, which could become a double send, is impossible.
CREATE UNIQUE INDEX attempt_one_open ON attempt (delivery_id) WHERE outcome IS NULL;

-- Requests that must not be carried out twice, and what came of the first.
CREATE TABLE request (
    key TEXT PRIMARY KEY,
    delivery_id INTEGER NOT NULL,
    created_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- What happened, in order. `seq` is the cursor of every subscription.
CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    type TEXT NOT NULL,
    campaign_id INTEGER,
    campaign TEXT NOT NULL DEFAULT '',   -- its name then; events outlive campaigns
    data TEXT NOT NULL
) STRICT;
CREATE INDEX event_campaign ON event (campaign_id, seq) WHERE campaign_id IS NOT NULL;
