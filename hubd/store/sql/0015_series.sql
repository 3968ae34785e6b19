-- Campaigns that repeat: when, as JSON (see core/recurrence.py); '' for one that does not.
ALTER TABLE campaign ADD COLUMN recurrence TEXT NOT NULL DEFAULT '';
-- The campaign whose occurrence this one is, by its name then; '' for none.
ALTER TABLE campaign ADD COLUMN series TEXT NOT NULL DEFAULT '';
-- Campaigns that go to whoever is added to a list while they run, so many seconds later; '' for no such list.
ALTER TABLE campaign ADD COLUMN trigger_list TEXT NOT NULL DEFAULT '';
ALTER TABLE campaign ADD COLUMN trigger_delay REAL NOT NULL DEFAULT 0.0 CHECK (trigger_delay >= 0);
CREATE INDEX campaign_trigger ON campaign (trigger_list) WHERE trigger_list <> '';

-- What became of each occurrence whose time has come. The key is what keeps one from being started twice.
CREATE TABLE occurrence (
    series_id INTEGER NOT NULL REFERENCES campaign (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,                 -- when it was planned for
    campaign_id INTEGER REFERENCES campaign (id) ON DELETE SET NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('started', 'overlap', 'missed', 'failed')),
    detail TEXT NOT NULL DEFAULT '',     -- of what failed
    PRIMARY KEY (series_id, at)
) STRICT, WITHOUT ROWID;
CREATE INDEX occurrence_campaign ON occurrence (campaign_id) WHERE campaign_id IS NOT NULL;
