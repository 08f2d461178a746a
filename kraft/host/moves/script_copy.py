"""Brings what group 0 knows of scripts to a group that was created later, and did not hear of it.

Whoever changes scripts does so in group 0 first and then in the other groups, and looks afterwards whether a
group was created meanwhile. So what is done in group 0 after a look at it reaches `group` without this. What
this copies may be outdated by then: a library may be deleted in both groups before its copy arrives. So a
copy is followed by another look, until the two agree. The look at `group` comes first: a library that is
there, and is not in group 0 after that, was deleted.

The cache of scripts is only completed, as its scripts come with `EVAL` to the group of their keys as well.
"""

from collections.abc import Callable
from dataclasses import dataclass

from kraft.host.requests.proposal import WriteOutcome
from kraft.host.requests.round import ReadDone, ReadOutcome, View
from kraft.host.transactions.ports import GroupRequests
from kraft.kv.commands import DeleteLibrary, FlushScripts, LoadScript, PutLibrary
from kraft.kv.ledger import Ledger
from kraft.kv.libraries import library, library_names
from kraft.kv.scripts import cached_scripts
from kraft.node.errors import Busy

LOOKS_MAX = 8  # until it is given up, because somebody changes scripts all the time

Change = PutLibrary | DeleteLibrary | LoadScript | FlushScripts


@dataclass(frozen=True, slots=True)
class KnownScripts:
    """The libraries of a group by name, and its cached scripts by SHA-1, the oldest first."""

    libraries: dict[bytes, PutLibrary]
    scripts: dict[bytes, bytes]

    @classmethod
    def of(cls, ledger: Ledger) -> "KnownScripts":
        """What the ledger of a group has."""
        found = [library(ledger, name) for name in library_names(ledger)]
        libraries = {each.name: PutLibrary(each.name, each.source, each.functions) for each in found if each}
        return cls(libraries, dict(cached_scripts(ledger)))


class ScriptCopy:
    """Gives `group` the libraries of functions of group 0, and the cached scripts that it lacks.

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
        self._there = KnownScripts({}, {})
        self._copied: dict[bytes, bytes] = {}  # scripts that were brought to the cache
        self._looks = 0
        self._left: list[Change] = []

    def begin(self) -> None:
        """Begin. `done` is called later."""
        self._look()

    def _look(self) -> None:
        self._looks += 1
        if self._looks > LOOKS_MAX:
            self._done(Busy())
        else:
            self._read(self._group, self._looked)

    def _looked(self, outcome: ReadOutcome) -> None:
        if isinstance(outcome, View):
            self._there = KnownScripts.of(outcome.keyspace.ledger)
            self._read(0, self._compared)
        else:
            self._done(outcome)

    def _compared(self, outcome: ReadOutcome) -> None:
        if isinstance(outcome, View):
            wanted = KnownScripts.of(outcome.keyspace.ledger)
            self._left = [*_libraries(self._there, wanted), *self._scripts(wanted)]
            self._next([])
        else:
            self._done(outcome)

    def _scripts(self, wanted: KnownScripts) -> list[Change]:
        """What completes the cache: once, as a cache that is full drops a script for each that comes."""
        if self._copied.keys() - wanted.scripts.keys():  # flushed in group 0, maybe before they came here
            self._copied = dict(wanted.scripts)
            return [FlushScripts(), *self._loads(self._copied)]
        if self._looks > 1:
            return []
        lacking = {sha: source for sha, source in wanted.scripts.items() if sha not in self._there.scripts}
        self._copied = lacking
        return self._loads(lacking)

    def _loads(self, scripts: dict[bytes, bytes]) -> list[Change]:
        return [LoadScript(sha, source, self._cache_bytes) for sha, source in scripts.items()]

    def _next(self, outcome: WriteOutcome) -> None:
        """Log the next change: each has the text of one script, which may be large."""
        if isinstance(outcome, Exception):
            self._done(outcome)
        elif self._left:
            change = self._left.pop(0)
            size = len(change.source) if isinstance(change, PutLibrary | LoadScript) else 0
            done = self._next if self._left else self._copy_ended
            self._requests.write(self._group, [change], size, done)
        else:
            self._done(None)

    def _copy_ended(self, outcome: WriteOutcome) -> None:
        if isinstance(outcome, Exception):
            self._done(outcome)
        else:
            self._look()


def _libraries(there: KnownScripts, wanted: KnownScripts) -> list[Change]:
    """What makes the libraries those that are wanted."""
    gone = [DeleteLibrary(name) for name in there.libraries if name not in wanted.libraries]
    return [*gone, *(put for name, put in wanted.libraries.items() if there.libraries.get(name) != put)]
