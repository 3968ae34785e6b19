-- What the first request with a key was answered, for those that are repeated. The row is written before
-- anything is done, so that a repetition after a crash knows that something may have been. One-off messages have
-- their own table, `request`, which is written with the message.
CREATE TABLE answer (
    method TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,           -- of what was asked for
    result TEXT NOT NULL,                -- '' until it is known
    arrived INTEGER NOT NULL,            -- how many of the campaign had been sent to when it began
    created_at REAL NOT NULL,
    PRIMARY KEY (method, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX answer_age ON answer (created_at);
