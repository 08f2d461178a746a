-- Schema 3 of state-G-N.db: what the state holds beside the keys, for example the tokens of KRAFT ONCE.
--
-- A file takes this step in the transaction of the first checkpoint at machine version 3 or above.

-- Every row. `key` is the byte of the kind (see kraft/kv/ledger.py) and the row's own name. From this schema on
-- `keys`, `size`, `sum` and `adlers` of `image` cover these rows, too.
CREATE TABLE ledger (
    key      BLOB PRIMARY KEY,
    value    BLOB NOT NULL,
    revision INTEGER NOT NULL,     -- of the state when the row was written
    expires  INTEGER NOT NULL,     -- Unix time in milliseconds, 0 for never
    adler    INTEGER NOT NULL,     -- as in `record`
    hash     BLOB NOT NULL         -- 16 bytes of BLAKE2b: see kraft/kv/checkpoint.py
) STRICT, WITHOUT ROWID;
