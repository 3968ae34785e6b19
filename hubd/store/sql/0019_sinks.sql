-- How far each sink of hubd.toml has been told, and how it is. `failing_since` is on the steady clock.
CREATE TABLE sink (
    name TEXT PRIMARY KEY,
    type TEXT NOT NULL,
    target TEXT NOT NULL,                -- a fingerprint of its settings, which name no secret
    cursor INTEGER NOT NULL,             -- the seq of the last event that it knows of
    paused INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    failures INTEGER NOT NULL DEFAULT 0, -- in a row
    failing_since REAL,
    told_at REAL                         -- when it was last told something
) STRICT, WITHOUT ROWID;
-- What a sink was told last of each record, so that only what has changed is told again.
CREATE TABLE sink_record (
    sink TEXT NOT NULL REFERENCES sink (name) ON DELETE CASCADE,
    key TEXT NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (sink, key)
) STRICT, WITHOUT ROWID;
