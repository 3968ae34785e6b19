-- What the provider said to an attempt, in its own words and without addresses; '' if it said nothing.
ALTER TABLE attempt ADD COLUMN provider_reply TEXT NOT NULL DEFAULT '';
