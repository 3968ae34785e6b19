-- What can be removed again: contents and files that nobody refers to, what messages say of people, old history.

-- One-off messages by their content: whether another one has it, too. Others have that of their campaign.
CREATE INDEX delivery_content ON delivery (content_id) WHERE content_id IS NOT NULL;

-- Contents that a campaign has, or had when it sent an earlier message. Campaign 0 stands for one that is not known.
CREATE TABLE content_use (
    campaign_id INTEGER NOT NULL,
    content_id INTEGER NOT NULL,
    PRIMARY KEY (campaign_id, content_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX content_use_content ON content_use (content_id);
INSERT INTO content_use (campaign_id, content_id) SELECT id, content_id FROM campaign;
INSERT INTO content_use (campaign_id, content_id)
SELECT 0, id FROM content WHERE id NOT IN (SELECT content_id FROM campaign)
    AND id NOT IN (SELECT content_id FROM delivery WHERE content_id IS NOT NULL);
CREATE TRIGGER content_used AFTER INSERT ON campaign BEGIN
    INSERT OR IGNORE INTO content_use (campaign_id, content_id) VALUES (new.id, new.content_id);
END;
CREATE TRIGGER content_changed AFTER UPDATE OF content_id ON campaign BEGIN
    INSERT OR IGNORE INTO content_use (campaign_id, content_id) VALUES (new.id, new.content_id);
END;

-- Suppressed addresses of people who are forgotten: a keyed hash, so that nobody can read or guess the address.
CREATE TABLE forgotten (
    hash BLOB PRIMARY KEY,
    reason TEXT NOT NULL,
    source TEXT NOT NULL,
    created_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- Messages whose files in an outbox are still to be removed: those of a campaign from one number to another.
CREATE TABLE erasure (
    id INTEGER PRIMARY KEY,
    campaign TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL
) STRICT;

-- How far the old deliveries of a campaign have been thinned: 'content' or 'deliveries'.
CREATE TABLE thinning (
    campaign_id INTEGER NOT NULL,
    what TEXT NOT NULL,
    after INTEGER NOT NULL,
    PRIMARY KEY (campaign_id, what)
) STRICT, WITHOUT ROWID;
