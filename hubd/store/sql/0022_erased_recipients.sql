-- Messages whose recipient was erased, or that were removed with their campaign: a keyed hash of the address, so
-- that the unsubscribe link in them still works, and nobody can read or guess the address. For a year.
CREATE TABLE erased_recipient (
    delivery_id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL,
    contact_id INTEGER,                  -- who had the address then
    erased_at REAL NOT NULL
) STRICT;
CREATE INDEX erased_recipient_at ON erased_recipient (erased_at);
