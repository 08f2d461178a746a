"""A transaction whose commands have to see keys of several groups at once, such as RENAME.

No group can execute such a command. So the node of the client reads the keys, computes what becomes of them,
and lets the groups do that, if no key has changed since it was read: optimistic concurrency control (Kung and
Robinson, 1981). If one has, all is repeated with what is there now, under locks (`KeyLock`).
"""

from collections.abc import Collection, Mapping
from functools import partial

from kraft.host.requests.round import ReadOutcome, View
from kraft.host.transactions.coordinator import Coordinator, TransactionDone, TransactionOutcome
from kraft.host.transactions.key_lock import KeyLock
from kraft.host.transactions.ports import Computation, GroupRequests
from kraft.host.transactions.token_use import TokenUse
from kraft.kv.commands import Exec
from kraft.kv.footprint import Footprint, Name, footprint
from kraft.kv.replies import CommandFailure
from kraft.kv.transaction_reply import StepOutcome
from kraft.node.errors import Locked


class OptimisticTransaction:
    """Executes a `computation`, up to `deadline` (monotonic seconds). What is not computed has `size` bytes.

    `done` gets what `Coordinator.execute` gives, for the parts that were computed last. Locked means that
    keys have changed again and again. The `use` of a token is remembered with what was computed, if that is
    final.
    """

    def __init__(
        self,
        computation: Computation,
        size: int,
        requests: GroupRequests,
        coordinator: Coordinator,
        deadline: float,
        done: TransactionDone,
        use: TokenUse | None = None,
    ) -> None:
        self._computation = computation
        self._size = size
        self._requests = requests
        self._coordinator = coordinator
        self._deadline = deadline
        self._done = done
        self._use = use
        self._parts: Mapping[int, Exec] = {}
        self._left = 0  # groups that have not answered
        self._failure: Exception | None = None

    def read(self) -> None:
        """Read the keys of all groups, and go on from there."""
        keys, rows = self._computation.keys, self._computation.rows
        self._left = len(keys)
        for group, names in keys.items():
            wanted: list[Name] = [*names, *rows] if names else []
            self._requests.read(group, partial(_itself, wanted), partial(self._viewed, group))

    def _viewed(self, group: int, outcome: ReadOutcome) -> None:
        if isinstance(outcome, View):
            self._computation.found(group, outcome)
        else:
            self._failure = outcome
        self._left -= 1
        if not self._left:
            self._write()

    def _write(self, lock: KeyLock | None = None) -> None:
        if self._failure is not None:
            self._done(self._failure)
            return
        try:
            for group, view in () if lock is None else lock.views.items():
                self._computation.found(group, view)
            self._parts = self._computation.parts()
        except Exception as error:  # a bug costs this client alone
            if lock is not None:
                lock.release()
            self._done(error)
        else:
            size = self._size + self._computation.size
            use = self._use if self._computation.final else None
            self._coordinator.execute(self._parts, size, self._executed, lock, use)

    def _executed(self, outcome: TransactionOutcome) -> None:
        if outcome is not CommandFailure.SCRIPT_CONFLICT:
            self._done(outcome)
        elif self._coordinator.late(self._deadline):
            self._done(Locked(max(self._computation.keys)))
        else:
            self._lock()

    def _lock(self) -> None:
        """Others were faster: lock all keys of the transaction before it is computed again."""
        looks = self._computation.keys
        self._taken = self._coordinator.lock(_wanted(self._parts, looks), looks, self._locked)

    def _locked(self, failure: StepOutcome | Exception | None) -> None:
        if isinstance(failure, Exception):
            self._done(failure)
        elif failure is None:
            self._write(self._taken)
        elif self._coordinator.late(self._deadline):
            self._done(Locked(max(self._computation.keys)))
        elif failure is StepOutcome.LOCKED:
            self._lock()
        else:  # such as a slot that another group owns now, which the read finds out
            self.read()


def _wanted(
    parts: Mapping[int, Exec], looks: Mapping[int, Collection[bytes]]
) -> dict[int, Collection[bytes]]:
    """The keys of the `parts`, of what they watch, and of the `looks`, by group.

    Whatever is computed next writes none but these: it may write what it looks at, and the rest stays.
    """
    wanted: dict[int, Collection[bytes]] = {}
    for group in sorted(parts.keys() | looks.keys()):
        found = footprint(parts[group]) if group in parts else Footprint()
        names = (*looks.get(group, ()), *found.written, *found.read)
        wanted[group] = dict.fromkeys([name for name in names if isinstance(name, bytes)]).keys()
    return {group: names for group, names in wanted.items() if names or group in looks}


def _itself(names: Collection[Name]) -> Collection[Name]:
    return names
