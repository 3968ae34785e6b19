-- What several daemons on one store would all write is kept for each of them: this daemon is node 1. And how far
-- numbers were given out is a row, changed by the transaction that takes them: their order is that of the commits.

-- The newest number of a table, also when its row has been removed since.
CREATE TABLE sequence (
    name TEXT PRIMARY KEY,               -- of the table
    newest INTEGER NOT NULL CHECK (newest >= 0)
) STRICT, WITHOUT ROWID;
INSERT INTO sequence (name, newest)
SELECT numbered.name, coalesce((SELECT seq FROM sqlite_sequence WHERE name = numbered.name), 0)
FROM (SELECT 'contact' AS name UNION ALL SELECT 'membership' UNION ALL SELECT 'event') AS numbered;

-- How many attempts a node has ever opened. `hub.opened` is their sum, as it was some seconds ago.
CREATE TABLE opened (
    node INTEGER PRIMARY KEY,
    attempts INTEGER NOT NULL CHECK (attempts >= 0)
) STRICT;
INSERT INTO opened (node, attempts) SELECT 1, opened FROM hub;

ALTER TABLE attempt ADD COLUMN node INTEGER NOT NULL DEFAULT 1; -- whose it is

CREATE TABLE usage_by_node (
    name TEXT NOT NULL,
    at INTEGER NOT NULL,                 -- when the ten seconds began
    node INTEGER NOT NULL,               -- which granted them
    slots INTEGER NOT NULL CHECK (slots > 0),
    PRIMARY KEY (name, at, node)
) STRICT, WITHOUT ROWID;
INSERT INTO usage_by_node (name, at, node, slots) SELECT name, at, 1, slots FROM usage;
DROP TABLE usage;
ALTER TABLE usage_by_node RENAME TO usage;

-- How many deliveries of a campaign are in each state, by the node that moved them there; changed in the
-- transaction that changes the deliveries.
CREATE TABLE campaign_count (
    campaign_id INTEGER NOT NULL REFERENCES campaign (id) ON DELETE CASCADE,
    node INTEGER NOT NULL,
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
    updated_at REAL NOT NULL,
    PRIMARY KEY (campaign_id, node),
    CHECK (n_total = n_pending + n_deferred + n_sending + n_sent + n_delivered + n_undelivered
                     + n_failed + n_skipped + n_in_doubt)
) STRICT, WITHOUT ROWID;
INSERT INTO campaign_count (campaign_id, node, n_total, n_pending, n_deferred, n_sending, n_sent, n_delivered,
    n_undelivered, n_failed, n_skipped, n_in_doubt, updated_at)
SELECT id, 1, n_total, n_pending, n_deferred, n_sending, n_sent, n_delivered, n_undelivered, n_failed,
    n_skipped, n_in_doubt, updated_at
FROM campaign;

-- The same campaigns without them. (No column can be dropped that a CHECK of the table names.)
CREATE TABLE campaign_without_counts (
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
    reconcile INTEGER NOT NULL DEFAULT 0, -- ask the provider about doubts, then hold
    rate TEXT NOT NULL DEFAULT '[]',
    give_up_after REAL NOT NULL DEFAULT 86400.0 CHECK (give_up_after >= 0),
    send_window TEXT NOT NULL DEFAULT '',
    send_zone TEXT NOT NULL DEFAULT '',  -- of the window, for a recipient who has none; '' for UTC
    send_limit INTEGER CHECK (send_limit > 0),
    single INTEGER NOT NULL DEFAULT 0,
    doomed INTEGER NOT NULL DEFAULT 0,   -- deleted, its rows are still being removed
    -- freezing the audience: memberships up to number freeze_to, list by list, contact by contact
    freeze_to INTEGER,
    freeze_list INTEGER NOT NULL DEFAULT 0,
    freeze_after INTEGER NOT NULL DEFAULT 0,
    freeze_in_doubt INTEGER NOT NULL DEFAULT 0, -- 1 after a restore: who is not frozen yet comes in doubt
    audience_ready INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    scheduled_at REAL,
    started_at REAL,
    completed_at REAL,
    archived_at REAL,                    -- left out of listings since then
    last_error TEXT NOT NULL DEFAULT '',
    template TEXT NOT NULL DEFAULT ''    -- 'welcome@3', '' for one with words of its own
) STRICT;
INSERT INTO campaign_without_counts (id, name, channel, provider, state, reason, revision, spec, lists, content_id,
    doubt_policy, reconcile, rate, give_up_after, send_window, send_zone, send_limit, single, doomed, freeze_to,
    freeze_list, freeze_after, freeze_in_doubt, audience_ready, created_at, updated_at, scheduled_at, started_at,
    completed_at, archived_at, last_error, template)
SELECT id, name, channel, provider, state, reason, revision, spec, lists, content_id,
    doubt_policy, reconcile, rate, give_up_after, send_window, send_zone, send_limit, single, doomed, freeze_to,
    freeze_list, freeze_after, freeze_in_doubt, audience_ready, created_at, updated_at, scheduled_at, started_at,
    completed_at, archived_at, last_error, template
FROM campaign;
-- The number of a campaign that was deleted is not given out again.
DELETE FROM sqlite_sequence WHERE name = 'campaign_without_counts';
INSERT INTO sqlite_sequence (name, seq)
SELECT 'campaign_without_counts', seq FROM sqlite_sequence WHERE name = 'campaign';
DROP TABLE campaign;
ALTER TABLE campaign_without_counts RENAME TO campaign;
