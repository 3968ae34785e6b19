-- Where the steady clock goes on at the next start (see hubd/core/steady.py). Limits, the time to give up and the
-- age of kept answers are measured by it, and not by the wall clock, which may be set.
CREATE TABLE steady (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    at REAL NOT NULL,                    -- what it showed, in seconds
    boot TEXT NOT NULL,                  -- which start of the machine it was then, '' where that is not known
    uptime REAL NOT NULL,                -- seconds since that start
    offset REAL NOT NULL,                -- how far the wall clock is ahead when it is right
    doubtful_until REAL NOT NULL         -- while it shows less, no wall clock is believed; 0: it is
) STRICT;
