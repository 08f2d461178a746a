-- Schema 2 of state-G-N.db: values of several kinds, and the machine version in force.
--
-- A file takes this step in the transaction of the first checkpoint at machine version 2 or above, never
-- before: until the cluster raises its machine version, an older kraft can still open every state file.

-- What `value` holds; 0: a string. `adler` and `hash` of a string are those of schema 1.
ALTER TABLE record ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;

-- The machine version in force at `base_index`. From this schema on `checksum` covers it as the last column.
ALTER TABLE image ADD COLUMN machine_version INTEGER NOT NULL DEFAULT 1;
