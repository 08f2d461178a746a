"""SQL of the rows with each group's hard state: its term and vote (RP figure 2)."""

import apsw

from kraft.raft.messages import HardState
from kraft.storage.rows import seal, select, unseal

_INSERT_HARD_STATE = "INSERT OR REPLACE INTO hard_state (replica, term, vote, checksum) VALUES (?,?,?,?)"
_SELECT_HARD_STATES = "SELECT replica, term, vote, checksum FROM hard_state ORDER BY replica"


def write_hard_state(cursor: apsw.Cursor, group: int, state: HardState) -> None:
    """Replace the row of a group, inside a transaction."""
    cursor.execute(_INSERT_HARD_STATE, seal((group, state.term, state.vote)))


def read_hard_states(connection: apsw.Connection) -> dict[int, HardState]:
    """Term and vote of every group that has any. Raises `DamagedRow`."""
    states = {}
    for row in select(connection, _SELECT_HARD_STATES, "a row of term and vote"):
        group, term, vote = unseal(row, f"group {row[0]}: the row of term and vote is damaged")
        states[group] = HardState(term, vote)
    return states
