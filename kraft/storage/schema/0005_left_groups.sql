-- Schema 5 of log.db: the node has left groups, and may have come back to some of them.
--
-- The node takes this step in the transaction that destroys its first replica. An earlier kraft refuses the
-- file by the number of the schema: it would begin a replica that the group knows nothing of.

-- The last replica that the node had of a group; no row: the one that it began with the group. A number with
-- the index -1: it never had one.
CREATE TABLE last_replica (
    replica       INTEGER PRIMARY KEY,  -- number of the group
    number_term   INTEGER NOT NULL,     -- the term and index of the entry that added it; 0 without a number
    number_index  INTEGER NOT NULL,
    held          INTEGER NOT NULL,     -- 1 while the node has it, 0 after it was destroyed
    checksum      INTEGER NOT NULL      -- of all columns before it
) STRICT;
