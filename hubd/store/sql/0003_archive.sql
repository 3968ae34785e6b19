-- When a campaign that has ended was put away: it is left out of listings, and nothing of it is removed.
ALTER TABLE campaign ADD COLUMN archived_at REAL;
