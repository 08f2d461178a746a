-- Schema 2 of log.db: logs that begin after a base, a state file per group, and a count of starts.

-- Where each group's log begins and which state file holds what came before; no row: at index 1, and none.
CREATE TABLE replica (
    replica       INTEGER PRIMARY KEY,  -- number of the group, G
    state         INTEGER NOT NULL,     -- N of the file state-G-N.db that is the group's; 0 for none
    base_index    INTEGER NOT NULL,     -- the last entry that is not in the log any more; 0 for none
    base_term     INTEGER NOT NULL,     -- that entry's term
    base_stamp    INTEGER NOT NULL,     -- that entry's stamp
    configuration_index INTEGER NOT NULL,  -- index of the entry with the configuration in force at the base
    configuration BLOB NOT NULL,        -- that configuration, as in an entry
    chain         INTEGER NOT NULL,     -- the checksum that the first entry behind the base continues
    fenced        INTEGER NOT NULL,     -- 1 when the state file is known to be wrong
    checksum      INTEGER NOT NULL      -- of all columns before it
) STRICT;

-- How often a process has been started on this directory; one row, increased before the process sends a message.
CREATE TABLE starts (
    only          INTEGER PRIMARY KEY CHECK (only = 1),
    count         INTEGER NOT NULL,
    checksum      INTEGER NOT NULL      -- of the count in decimal digits
) STRICT;
INSERT INTO starts (only, count, checksum) VALUES (1, 0, 4108050209);
