-- Named content that campaigns share. `version` is the newest one, and goes on after a deletion: a version that was
-- given to some content never names another one.
CREATE TABLE template (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL CHECK (version > 0),
    deleted INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE TABLE template_version (
    name TEXT NOT NULL REFERENCES template (name),
    version INTEGER NOT NULL,
    spec TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;

-- The version that a campaign has its content from, such as 'welcome@3'; '' for one with words of its own.
ALTER TABLE campaign ADD COLUMN template TEXT NOT NULL DEFAULT '';
