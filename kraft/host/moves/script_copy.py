"""Brings what group 0 knows of scripts to a group that was created later, and has none of it."""

from collections.abc import Callable, Iterator

from kraft.host.requests.proposal import WriteOutcome
from kraft.host.requests.round import ReadDone, ReadOutcome, View
from kraft.host.transactions.ports import GroupRequests
from kraft.kv.commands import LoadScript, PutLibrary
from kraft.kv.ledger import Ledger
from kraft.kv.libraries import library, library_names
from kraft.kv.scripts import cached_scripts, script_source


class ScriptCopy:
    """Copies the libraries of functions and the cached scripts that `group` does not have yet.

    `read` is as `Host.read`. `done` gets None, or why the copy is not complete; it may begin again then.
    `cache_bytes` is `scripts.cache_bytes`.
    """

    def __init__(
        self,
        group: int,
        read: Callable[[int, ReadDone], None],
        requests: GroupRequests,
        cache_bytes: int,
        done: Callable[[Exception | None], None],
    ) -> None:
        self._group = group
        self._read = read
        self._requests = requests
        self._cache_bytes = cache_bytes
        self._done = done
        self._left: list[PutLibrary | LoadScript] = []

    def begin(self) -> None:
        """Begin. `done` is called later."""
        self._read(0, self._found)

    def _found(self, outcome: ReadOutcome) -> None:
        if isinstance(outcome, View):
            self._left = list(self._commands(outcome.keyspace.ledger))
            self._read(self._group, self._compared)
        else:
            self._done(outcome)

    def _commands(self, ledger: Ledger) -> Iterator[PutLibrary | LoadScript]:
        for name in library_names(ledger):
            found = library(ledger, name)
            if found is not None:
                yield PutLibrary(found.name, found.source, found.functions)
        for sha, source in cached_scripts(ledger):
            yield LoadScript(sha, source, self._cache_bytes)

    def _compared(self, outcome: ReadOutcome) -> None:
        if isinstance(outcome, View):
            ledger = outcome.keyspace.ledger
            self._left = [command for command in self._left if not _has(ledger, command)]
            self._next([])
        else:
            self._done(outcome)

    def _next(self, outcome: WriteOutcome) -> None:
        """Log the next command: each has the text of one script, which may be large."""
        if isinstance(outcome, Exception):
            self._done(outcome)
        elif self._left:
            command = self._left.pop(0)
            self._requests.write(self._group, [command], len(command.source), self._next)
        else:
            self._done(None)


def _has(ledger: Ledger, command: PutLibrary | LoadScript) -> bool:
    if isinstance(command, LoadScript):
        return script_source(ledger, command.sha) is not None
    found = library(ledger, command.name)
    return found is not None and found.source == command.source
