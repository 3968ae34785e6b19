-- What people are told: written with the change of state that it tells of, once for each run of a campaign.
CREATE TABLE notification (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL UNIQUE,            -- of the email, too: 'notify:17:1:completed'
    about TEXT NOT NULL,                 -- the name of the campaign, account, mailbox or sink
    provider TEXT NOT NULL DEFAULT '',   -- of the campaign
    reason TEXT NOT NULL DEFAULT '',
    figures TEXT NOT NULL DEFAULT '{}',  -- as they were then
    read_at REAL,
    mailed_at REAL,                      -- NULL until somebody has looked whether it is to be mailed
    mail TEXT NOT NULL DEFAULT ''        -- the key of the email that tells it; '' for none
) STRICT;
CREATE INDEX notification_unread ON notification (id) WHERE read_at IS NULL;
CREATE INDEX notification_waiting ON notification (id) WHERE mailed_at IS NULL;
CREATE INDEX notification_mailed ON notification (mailed_at) WHERE mail <> '';

-- How often a campaign went to `running`.
ALTER TABLE campaign ADD COLUMN runs INTEGER NOT NULL DEFAULT 0;
UPDATE campaign SET runs = 1 WHERE started_at IS NOT NULL;
