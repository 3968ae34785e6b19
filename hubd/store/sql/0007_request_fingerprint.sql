-- What was asked for with a message's key, as a hash: the same request is answered as the first time, whatever has
-- changed since then, and another one is refused. Empty for what an earlier version queued.
ALTER TABLE request ADD COLUMN fingerprint BLOB NOT NULL DEFAULT x'';
