PRAGMA page_size=4096;
PRAGMA auto_vacuum=2;
PRAGMA application_id=1802659444;
PRAGMA user_version=2;
CREATE TABLE node (
    only        INTEGER PRIMARY KEY CHECK (only = 1),
    id          TEXT NOT NULL,      -- from the configuration, such as K1
    incarnation TEXT NOT NULL,      -- 32 hex digits, random, made with this file
    cluster     TEXT NOT NULL,      -- cluster id; empty until the node has formed or joined a cluster
    members     BLOB NOT NULL,      -- the bootstrap list: msgpack array of [id, incarnation, peer address]
    checksum    INTEGER NOT NULL    -- of all columns before it
) STRICT;
INSERT INTO node VALUES (1,'K1','0123456789abcdef0123456789abcdef','',x'90',236512660);
CREATE TABLE hard_state (
    replica     INTEGER PRIMARY KEY,  -- number of the group
    term        INTEGER NOT NULL,
    vote        TEXT NOT NULL,        -- node id voted for in this term; empty for none
    checksum    INTEGER NOT NULL      -- of all columns before it
) STRICT;
INSERT INTO hard_state VALUES (0,1,'K1',170114513);
CREATE TABLE entry (
    position    INTEGER PRIMARY KEY,  -- group << 48 | index; indexes count from 1
    term        INTEGER NOT NULL,
    stamp       INTEGER NOT NULL,     -- Unix time in milliseconds, never below that of the entry before
    kind        INTEGER NOT NULL,     -- 0 no-op, 1 commands, 2 configuration
    committed   INTEGER NOT NULL,     -- the group's commit index as known when this row was written
    checksum    INTEGER NOT NULL,     -- continues that of the previous entry over this row's other columns
    data        BLOB NOT NULL         -- the same bytes as on the wire
) STRICT;
INSERT INTO entry VALUES (6,1,1006,1,7,1028113940,x'64617461');
INSERT INTO entry VALUES (7,1,1007,1,7,158558342,x'64617461');
INSERT INTO entry VALUES (8,1,1008,1,7,1429056610,x'64617461');
INSERT INTO entry VALUES (9,1,1009,1,7,1186045642,x'64617461');
CREATE VIEW log AS
SELECT position >> 48 AS replica, position & 0xFFFFFFFFFFFF AS "index", term, stamp, kind, committed,
       length(data) AS size, data
FROM entry;
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
INSERT INTO replica VALUES (0,1,5,1,1005,0,x'969193a24b31a26162a3683a3191a24b31909090c0',2652015844,0,1800479902);
CREATE TABLE starts (
    only          INTEGER PRIMARY KEY CHECK (only = 1),
    count         INTEGER NOT NULL,
    checksum      INTEGER NOT NULL      -- of the count in decimal digits
) STRICT;
INSERT INTO starts VALUES (1,1,2212294583);
