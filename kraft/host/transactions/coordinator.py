"""The transactions over several groups that the clients of this node ask for.

Each one is attempted until it is committed, a watched key has changed, or its time is over. An attempt that
met a lock is followed by one that takes its locks in order, and waits for them. Every attempt has an id of
its own, so nothing of an earlier one can mix with it.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from functools import partial

from kraft.host.requests.proposal import WriteOutcome
from kraft.host.transactions.attempt import AttemptOutcome, CommitAttempt, Replies
from kraft.host.transactions.key_lock import STEP_BYTES, KeyLock
from kraft.host.transactions.ports import GroupRequests
from kraft.host.transactions.token_use import Remembered, TokenUse
from kraft.kv.commands import Exec, Forget, TransactionId
from kraft.kv.replies import CommandFailure
from kraft.kv.transaction_reply import StepOutcome
from kraft.node.errors import Locked, Uncertain
from kraft.node.ports import Clock

TransactionOutcome = Replies | Remembered | CommandFailure | Exception | None
"""None: a watched key has changed. A `CommandFailure`, `Remembered` or a `Refused`: nothing was done."""

TransactionDone = Callable[[TransactionOutcome], None]

_FAILURES = {
    StepOutcome.PREMATURE: ("refused", CommandFailure.PREMATURE),
    StepOutcome.CONFLICT: ("conflict", CommandFailure.SCRIPT_CONFLICT),
    StepOutcome.NOT_OWNER: ("refused", CommandFailure.NOT_OWNER),
}

FORGET_SECONDS = 0.05  # for which a home group is not told who is done, so that it hears of several at once
FORGETS_MAX = 64  # that wait for that


class Coordinator:
    """Executes transactions as `session`, the name of this process in the whole cluster.

    `write_timeout` and `leader_wait` are those of the client port, in seconds. `outcomes` counts transactions
    by outcome: committed, changed, conflict, repeated (of a token), refused, locked or uncertain; `attempts`
    is how many attempts they took. After a conflict `OptimisticTransaction` begins another one. If a slot has
    moved, the client port does so, in the groups that own the keys by then.
    """

    def __init__(
        self,
        session: bytes,
        requests: GroupRequests,
        clock: Clock,
        write_timeout: float,
        leader_wait: float,
    ) -> None:
        self.outcomes: Counter[str] = Counter()
        self.attempts = 0
        self._session = session
        self._requests = requests
        self._clock = clock
        self._write_timeout = write_timeout
        self._leader_wait = leader_wait
        self._number = 0
        self._start = 0
        self._open: dict[int, None] = {}  # numbers of attempts under way, in ascending order
        self._forgets: dict[int, list[Forget]] = {}  # by home, that wait

    @property
    def open(self) -> int:
        """How many attempts are under way."""
        return len(self._open)

    def execute(
        self,
        parts: Mapping[int, Exec],
        size: int,
        done: TransactionDone,
        lock: KeyLock | None = None,
        use: TokenUse | None = None,
    ) -> None:
        """Execute `parts`, by group, as one: all of them, or nothing. There are at least two.

        With the `use` of a token, which is remembered with them, there may be one.

        `size` is their approximate bytes. `done` gets the reply of each, and never runs inside this call. The
        first attempt takes over the `lock`.
        """
        _Execution(self, parts, size, self.deadline(), done, use).attempt(lock)

    def lock(
        self,
        keys: Mapping[int, Collection[bytes]],
        looks: Mapping[int, Collection[bytes]],
        done: Callable[[StepOutcome | Exception | None], None],
    ) -> KeyLock:
        """Lock `keys`, by group, and look at those in `looks`; `done` as of `KeyLock`."""
        lock = KeyLock(
            self._next_id(),
            self._mark,
            keys,
            looks,
            self._requests,
            self._clock,
            self._clock.seconds() + self._write_timeout,
            done,
            self._ended,
        )
        lock.start()
        return lock

    def _next_id(self) -> TransactionId:
        self._number += 1
        self._start = max(self._start, self._requests.log_time())
        self._open[self._number] = None
        return TransactionId(self._session, self._number, self._start)

    @property
    def _mark(self) -> int:
        return next(iter(self._open))

    def attempt(
        self,
        parts: Mapping[int, Exec],
        size: int,
        done: Callable[[AttemptOutcome], None],
        *,
        ordered: bool,
        lock: KeyLock | None = None,
        use: TokenUse | None = None,
    ) -> None:
        """Make one attempt."""
        self.attempts += 1
        CommitAttempt(
            self._next_id(),
            self._mark,
            parts,
            size,
            self._requests,
            self._clock,
            self._clock.seconds() + self._write_timeout,
            done,
            self._ended,
            self._resolved,
            ordered=ordered,
            lock=lock,
            use=use,
        ).start()

    def deadline(self) -> float:
        """Until when a transaction that begins now is attempted again (monotonic seconds)."""
        return self._clock.seconds() + self._leader_wait

    def late(self, deadline: float) -> bool:
        """Whether a transaction with this deadline is not attempted again."""
        return self._clock.seconds() >= deadline

    def _ended(self, id_: TransactionId) -> None:
        self._open.pop(id_.number, None)

    def _resolved(self, home: int, id_: TransactionId, group: int) -> None:
        """Home can forget a participant. No client and no lock waits for that, so it is told of several."""
        forgets = self._forgets.setdefault(home, [])
        forgets.append(Forget(id_, group))
        if len(forgets) == 1:
            self._clock.call_later(FORGET_SECONDS, partial(self._forget, home))
        elif len(forgets) == FORGETS_MAX:
            self._forget(home)

    def _forget(self, home: int) -> None:
        forgets = self._forgets.pop(home, None)
        if forgets:
            self._requests.write(home, forgets, STEP_BYTES * len(forgets), _ignore)


class _Execution:
    """One transaction of a client: the attempts to commit it, up to `deadline` (monotonic seconds)."""

    def __init__(
        self,
        coordinator: Coordinator,
        parts: Mapping[int, Exec],
        size: int,
        deadline: float,
        done: TransactionDone,
        use: TokenUse | None,
    ) -> None:
        self._coordinator = coordinator
        self._parts = parts
        self._size = size
        self._deadline = deadline
        self._done = done
        self._use = use
        self._ordered = False

    def attempt(self, lock: KeyLock | None = None) -> None:
        ordered = self._ordered or lock is not None
        self._coordinator.attempt(
            self._parts, self._size, self._attempted, ordered=ordered, lock=lock, use=self._use
        )

    def _attempted(self, outcome: AttemptOutcome) -> None:
        if isinstance(outcome, dict):
            self._end("committed", outcome)
        elif isinstance(outcome, Remembered):
            self._end("repeated", outcome)
        elif outcome is StepOutcome.CHANGED:
            self._end("changed", None)
        elif isinstance(outcome, Uncertain):
            self._end("uncertain", outcome)
        elif isinstance(outcome, Exception):
            self._end("refused", outcome)
        elif outcome in _FAILURES:
            self._end(*_FAILURES[outcome])
        elif self._coordinator.late(self._deadline):
            self._end("locked", Locked(max(self._parts)))
        else:
            self._ordered = True
            self.attempt()

    def _end(self, name: str, outcome: TransactionOutcome) -> None:
        self._coordinator.outcomes[name] += 1
        self._done(outcome)


def _ignore(_: WriteOutcome) -> None:
    """What home has not heard, its leader asks for."""
