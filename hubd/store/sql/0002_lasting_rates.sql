-- Rates that outlive a restart, an audit trail, and the marks by which a copy or a backup of this file is known.

-- What limits have granted, in steps of ten seconds. A limit is named by what it limits:
-- "provider/office", "sender/office/news@acme.example", "domain/office/gmail.com", "campaign/17".
CREATE TABLE usage (
    name TEXT NOT NULL,
    at INTEGER NOT NULL,                 -- when the ten seconds began
    slots INTEGER NOT NULL CHECK (slots > 0),
    PRIMARY KEY (name, at)
) STRICT, WITHOUT ROWID;

-- When a provider's warm-up ramp began: with its first message.
CREATE TABLE warmup (
    provider TEXT PRIMARY KEY,
    began_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- Finds a provider's name for a message: one that comes a second time is an alarm.
CREATE INDEX attempt_named ON attempt (provider_id) WHERE stage = 'request' AND provider_id <> '';
-- Who was sent to again although it may have been accepted: few, in a healthy campaign.
CREATE INDEX delivery_again ON delivery (campaign_id, doubts) WHERE doubts > 0;

-- What may be tried at once, in id order: not hidden among all that wait for a time.
CREATE INDEX delivery_fresh ON delivery (campaign_id, id)
    WHERE next_at IS NULL AND (state = 'pending' OR state = 'deferred');

-- Who decided what. Each row's hash covers the row before it, so that a missing or changed row shows.
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    actor TEXT NOT NULL,                 -- "operator", "policy", "recovery", "restore"
    action TEXT NOT NULL,                -- such as "doubt.resend"
    campaign_id INTEGER,
    delivery_id INTEGER,
    data TEXT NOT NULL DEFAULT '{}',
    hash BLOB NOT NULL
) STRICT;
CREATE INDEX audit_delivery ON audit (delivery_id) WHERE delivery_id IS NOT NULL;

-- Which account a provider's name stood for: another one cannot be asked what this one accepted.
ALTER TABLE attempt ADD COLUMN account TEXT NOT NULL DEFAULT '';

ALTER TABLE hub ADD COLUMN opened INTEGER NOT NULL DEFAULT 0;   -- how many attempts were ever opened
ALTER TABLE hub ADD COLUMN anchored INTEGER NOT NULL DEFAULT 0; -- 1 once an anchor file lies beside the database
ALTER TABLE hub ADD COLUMN copied_at REAL;                      -- set in a backup, and nowhere else
ALTER TABLE hub ADD COLUMN restored_at REAL;                    -- when this file was last found to be a restored one

ALTER TABLE campaign ADD COLUMN reconcile INTEGER NOT NULL DEFAULT 0; -- ask the provider about doubts, then hold
-- 1 after a restore: recipients that were not frozen yet may have been sent to since, so they come in doubt.
ALTER TABLE campaign ADD COLUMN freeze_in_doubt INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hub ADD COLUMN restored_why TEXT NOT NULL DEFAULT '';
ALTER TABLE hub ADD COLUMN restored_epoch INTEGER;              -- the boot that found it
-- Not NULL while what a restored file cannot know is being held: the last campaign that is done.
ALTER TABLE hub ADD COLUMN restoring INTEGER;
