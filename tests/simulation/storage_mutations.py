"""Mistakes in what a node has on its disk."""

from tests.simulation.mutation import Mutation

STORAGE_MUTATIONS = (
    Mutation(
        "heads of the logs not followed",
        "kraft/storage/log/database.py",
        "self._heads.update(staged.heads)",
        "pass",
        "each row continues the checksum of the one before",
    ),
    Mutation(
        "commits not synced",
        "kraft/storage/sqlite.py",
        '("synchronous", "FULL", 2),',
        '("synchronous", "OFF", 0),',
        "a power cut loses what COMMIT promised",
        60,
    ),
    Mutation(
        "truncation leaves the last row",
        "kraft/storage/log/entries.py",
        "cursor.execute(_DELETE, (base + first, base + INDEX_MASK))",
        "cursor.execute(_DELETE, (base + first + 1, base + INDEX_MASK))",
        "a row that was replaced must go",
        60,
    ),
    Mutation(
        "votes not written",
        "kraft/storage/log/database.py",
        "write_hard_state(self.cursor, group, wanted)",
        "pass",
        "a vote that is lost in a restart is given twice",
    ),
    Mutation(
        "base not written",
        "kraft/storage/log/database.py",
        "if row != self.replica(group):",
        "if False:",
        "the beginning of the log must survive a restart",
        60,
    ),
    Mutation(
        "switch forgets the state file",
        "kraft/storage/log/database.py",
        "row = ReplicaRow(persist.state_file, row.base, row.chain)",
        "row = ReplicaRow(row.state, row.base, row.chain)",
        "log and state file change in one transaction",
        100,
    ),
    Mutation(
        "orphans win",
        "kraft/storage/state/folder.py",
        "if number != int(match[2]) and (not number or file_names(group, number)[0] in names):",
        "if number == int(match[2]) and (not number or file_names(group, number)[0] in names):",
        "the current file is the one that the log names",
        60,
    ),
    Mutation(
        "removed keys stay in the state file",
        "kraft/storage/state/database.py",
        "gone.append(key)",
        "gone = [*gone]",
        "a removal is a change",
        60,
    ),
    Mutation(
        "received rows without their expiry",
        "kraft/storage/state/receiver.py",
        "stored_row(table, row.key, row.value, row.revision, row.expires)",
        "stored_row(table, row.key, row.value, row.revision, 0)",
        "expiries are part of a snapshot; its sum says so",
        100,
    ),
    Mutation(
        "shorter log passes the high-water mark",
        "kraft/storage/log/loading.py",
        "if shortfall := found.shortfall(written):",
        "if shortfall := None:",
        "SQLite silently drops damaged frames and all after them",
        300,
    ),
)
