"""The cache of scripts, in the ledger, and what the commands on it do to the state.

A script has two rows: its text under its SHA-1, and its SHA-1 under a number, which grows. One row without a
name has the number of the oldest script and the next one. So the oldest one is found without a search.
"""

from collections.abc import Callable
from typing import Any

from kraft.kv.commands import FlushScripts, LoadScript
from kraft.kv.ledger import Ledger, LedgerKind
from kraft.kv.replies import Reply
from kraft.kv.state import MachineState

_SCRIPT = LedgerKind.SCRIPT
_RANGE = b""
SHA_LENGTH = 40  # of a SHA-1 in hexadecimal digits


def script_source(ledger: Ledger, sha: bytes) -> bytes | None:
    """The text of the script with that SHA-1 (40 hexadecimal digits), None if it is not in the cache."""
    row = ledger.get(_SCRIPT, sha) if len(sha) == SHA_LENGTH else None
    return None if row is None else row.value


def cached_scripts(ledger: Ledger) -> list[tuple[bytes, bytes]]:
    """The SHA-1 and the text of every script in the cache, the oldest first."""
    found = []
    for number in range(*_range(ledger)):
        name = ledger.get(_SCRIPT, _number(number))
        row = None if name is None else ledger.get(_SCRIPT, name.value)
        if name is not None and row is not None:
            found.append((name.value, row.value))
    return found


def _load(state: MachineState, command: LoadScript) -> Reply:
    ledger = state.keyspace.ledger
    if ledger.get(_SCRIPT, command.sha) is None:
        state.revision += 1
        oldest, following = _range(ledger)
        ledger.put(_SCRIPT, command.sha, command.source, state.revision)
        ledger.put(_SCRIPT, _number(following), command.sha, state.revision)
        while ledger.sizes[_SCRIPT] > command.cache_limit and oldest < following:
            _remove(ledger, oldest)
            oldest += 1
        ledger.put(_SCRIPT, _RANGE, _number(oldest) + _number(following + 1), state.revision)
    return command.sha


def _flush(state: MachineState, _: FlushScripts) -> Reply:
    ledger = state.keyspace.ledger
    oldest, following = _range(ledger)
    if oldest < following:
        state.revision += 1
        for number in range(oldest, following):
            _remove(ledger, number)
        ledger.put(_SCRIPT, _RANGE, _number(following) * 2, state.revision)
    return "OK"


def _range(ledger: Ledger) -> tuple[int, int]:
    row = ledger.get(_SCRIPT, _RANGE)
    if row is None:
        return 0, 0
    return int.from_bytes(row.value[:8], "big"), int.from_bytes(row.value[8:], "big")


def _number(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _remove(ledger: Ledger, number: int) -> None:
    row = ledger.get(_SCRIPT, _number(number))
    if row is not None:
        ledger.remove(_SCRIPT, row.value)
        ledger.remove(_SCRIPT, _number(number))


FUNCTIONS: dict[type, Callable[[MachineState, Any], Reply]] = {LoadScript: _load, FlushScripts: _flush}
"""The function of each command."""
