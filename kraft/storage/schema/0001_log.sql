-- Schema 1 of log.db: the logs and hard states of all groups of one node, and who the node is.
--
-- The file opens with the stock sqlite3 shell while the node is stopped; start with the view `log`.
-- Checksums are CRC-32 (zlib), computed by kraft, because SQLite does not checksum pages of the main file and
-- drops a WAL frame with a bad checksum, and all frames after it, without an error.

-- Who this node is; one row.
CREATE TABLE node (
    only        INTEGER PRIMARY KEY CHECK (only = 1),
    id          TEXT NOT NULL,      -- from the configuration, such as K1
    incarnation TEXT NOT NULL,      -- 32 hex digits, random, made with this file
    cluster     TEXT NOT NULL,      -- cluster id; empty until the node has formed or joined a cluster
    members     BLOB NOT NULL,      -- the bootstrap list: msgpack array of [id, incarnation, peer address]
    checksum    INTEGER NOT NULL    -- of all columns before it
) STRICT;

-- The term and vote of each group (figure 2 of the Raft paper).
CREATE TABLE hard_state (
    replica     INTEGER PRIMARY KEY,  -- number of the group
    term        INTEGER NOT NULL,
    vote        TEXT NOT NULL,        -- node id voted for in this term; empty for none
    checksum    INTEGER NOT NULL      -- of all columns before it
) STRICT;

-- The log of every group. One integer key instead of (group, index): SQLite then appends to the rightmost leaf
-- of the group's range and keeps rows of up to a page without overflow, with no second index to write.
CREATE TABLE entry (
    position    INTEGER PRIMARY KEY,  -- group << 48 | index; indexes count from 1
    term        INTEGER NOT NULL,
    stamp       INTEGER NOT NULL,     -- Unix time in milliseconds, never below that of the entry before
    kind        INTEGER NOT NULL,     -- 0 no-op, 1 commands, 2 configuration
    committed   INTEGER NOT NULL,     -- the group's commit index as known when this row was written
    checksum    INTEGER NOT NULL,     -- continues that of the previous entry over this row's other columns
    data        BLOB NOT NULL         -- the same bytes as on the wire
) STRICT;

CREATE VIEW log AS
SELECT position >> 48 AS replica, position & 0xFFFFFFFFFFFF AS "index", term, stamp, kind, committed,
       length(data) AS size, data
FROM entry;
