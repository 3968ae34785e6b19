-- What happened in each hour, by campaign: see `core.measures`. Changed in the transaction that changes the rows
-- which are counted, by the node that changes them; one node may take back what another one has counted. Rows from
-- before `rollup_state.daily_until` are of whole days (UTC).
CREATE TABLE rollup (
    campaign_id INTEGER NOT NULL REFERENCES campaign (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,                 -- when the hour, or the day, began
    measure TEXT NOT NULL,
    node INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (campaign_id, at, measure, node)
) STRICT, WITHOUT ROWID;
CREATE TABLE rollup_state (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    daily_until INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO rollup_state (only) VALUES (1);

-- Campaigns with deliveries from before this table, until they are counted.
CREATE TABLE rollup_pending (
    campaign_id INTEGER PRIMARY KEY REFERENCES campaign (id) ON DELETE CASCADE
) STRICT;
INSERT INTO rollup_pending (campaign_id) SELECT id FROM campaign;

-- What the message cost if it was accepted: segments of a text message, 1 for an email. Not known of older ones.
ALTER TABLE attempt ADD COLUMN cost INTEGER NOT NULL DEFAULT 1;
