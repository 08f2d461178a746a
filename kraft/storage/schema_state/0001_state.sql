-- Schema 1 of state-G-N.db: the keys of group G at one index of its log, kept up to date by checkpoints.
--
-- The file opens with the stock sqlite3 shell, also while the node runs; start with the view `state`.
-- One checkpoint is one transaction: the changed rows and the row of `image`.

-- Every key. Without a rowid the rows themselves stand in the order of their keys, which is the order in
-- which checkpoints write them, a start loads them and a snapshot sends them.
CREATE TABLE record (
    key      BLOB PRIMARY KEY,
    value    BLOB NOT NULL,
    revision INTEGER NOT NULL,     -- of the key's last change
    expires  INTEGER NOT NULL,     -- Unix time in milliseconds, 0 for never
    adler    INTEGER NOT NULL,     -- Adler-32 (zlib) of key and value, from (revision + 3 * expires) mod 65521
    hash     BLOB NOT NULL         -- 16 bytes of BLAKE2b, to compare replicas: see kraft/kv/checkpoint.py
) STRICT, WITHOUT ROWID;

-- What the file holds; one row, none before the first checkpoint is complete.
CREATE TABLE image (
    only          INTEGER PRIMARY KEY CHECK (only = 1),
    base_index    INTEGER NOT NULL,     -- the index of the log that the keys stand at
    base_term     INTEGER NOT NULL,     -- of the entry there
    base_stamp    INTEGER NOT NULL,     -- of the entry there, Unix time in milliseconds
    configuration_index INTEGER NOT NULL,  -- index of the entry with the configuration in force there
    configuration BLOB NOT NULL,        -- that configuration, as in an entry
    revision      INTEGER NOT NULL,     -- of the last change of all
    keys          INTEGER NOT NULL,     -- number of rows in `record`
    size          INTEGER NOT NULL,     -- bytes of their keys and values
    sum           BLOB NOT NULL,        -- sum of their hashes, modulo 2^128, big endian
    adlers        INTEGER NOT NULL,     -- sum of their `adler`
    checksum      INTEGER NOT NULL      -- CRC-32 (zlib) of all columns before it
) STRICT;

CREATE VIEW state AS
SELECT CAST(key AS TEXT) AS key, CAST(value AS TEXT) AS value, revision,
       iif(expires, strftime('%Y-%m-%d %H:%M:%f', expires / 1000.0, 'unixepoch'), NULL) AS expires
FROM record;
