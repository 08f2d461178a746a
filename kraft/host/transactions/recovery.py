"""What the leaders do for transactions over several groups whose coordinator does not come back to them.

A coordinator finishes what it began within milliseconds. If its node dies, or its messages are lost, locks or
a decision stay behind. Everything about them is in the replicated state of the groups, so whoever leads a
group then can go on:

* A participant whose locks are older than `patience` asks the home group what was decided. If nothing was,
  that becomes "aborted" from there on. Then it does the same here.
* A home group whose decision is older than that sends it to the participants that have not confirmed it.

Each step may be repeated by anybody at any time. A home group without a majority cannot be asked: until it is
back, its participants keep their locks, as only it knows.
"""

from collections.abc import Callable
from functools import partial

from kraft.host.applied_state import AppliedState
from kraft.host.requests.proposal import WriteOutcome
from kraft.host.transactions.key_lock import STEP_BYTES
from kraft.host.transactions.ports import GroupRequests
from kraft.kv.commands import Decide, Forget, Resolve, TransactionId
from kraft.kv.transaction_index import Decision, Hold
from kraft.kv.transaction_reply import StepOutcome, transaction_reply
from kraft.node.ports import Clock

STEPS_MAX = 256  # of recovery under way at once in a group; the others have their turn after these


class TransactionRecovery:
    """The recovery of the transactions of one group, at its leader. `count` is how many it took up."""

    def __init__(
        self, group: int, state: AppliedState, requests: GroupRequests, clock: Clock, patience: float
    ) -> None:
        self.count = 0
        self._group = group
        self._state = state
        self._requests = requests
        self._clock = clock
        self._patience = patience
        self._seen: dict[bytes, float] = {}  # when this leader saw a transaction first, by name
        self._under_way: set[tuple[bytes, int]] = set()  # what was asked, by name and group

    def tick(self, *, leads: bool) -> None:
        """One tick of the host passed."""
        transactions = self._state.machine.keyspace.transactions
        if not (leads and (transactions.prepared or transactions.decisions)):
            if self._seen:
                self._seen = {}
            return
        now = self._clock.seconds()
        seen = self._seen
        self._seen = {name: seen.get(name, now) for name in (*transactions.prepared, *transactions.decisions)}
        late = now - self._patience
        for name in [name for name, since in self._seen.items() if since <= late]:
            hold, decision = transactions.prepared.get(name), transactions.decisions.get(name)
            if hold is not None:
                self._ask_home(name, hold)
            if decision is not None:
                self._tell(name, decision)

    def oldest(self) -> float:
        """The seconds for which this leader has seen the oldest transaction that is not over."""
        return self._clock.seconds() - min(self._seen.values()) if self._seen else 0.0

    # -- a participant --------------------------------------------------------------------------------

    def _ask_home(self, name: bytes, hold: Hold) -> None:
        self._begin(name, hold.home, Decide(hold.id, holder=True), partial(self._told, hold))

    def _told(self, hold: Hold, outcome: WriteOutcome) -> None:
        """Home has said what was decided: do it here."""
        if not isinstance(outcome, list):
            return
        decided = transaction_reply(outcome[0]).outcome
        if decided in (StepOutcome.COMMITTED, StepOutcome.ABORTED):
            commit = decided is StepOutcome.COMMITTED
            self._requests.write(self._group, [Resolve(hold.id, commit)], STEP_BYTES, _ignore)

    # -- home -----------------------------------------------------------------------------------------

    def _tell(self, name: bytes, decision: Decision) -> None:
        for group in decision.waiting:
            confirmed = partial(self._confirmed, decision.id, group)
            self._begin(name, group, Resolve(decision.id, commit=True), confirmed)

    def _confirmed(self, id_: TransactionId, group: int, outcome: WriteOutcome) -> None:
        if isinstance(outcome, list):
            self._requests.write(self._group, [Forget(id_, group)], STEP_BYTES, _ignore)

    # -- both -----------------------------------------------------------------------------------------

    def _begin(
        self, name: bytes, group: int, step: Decide | Resolve, done: Callable[[WriteOutcome], None]
    ) -> None:
        """Ask `group`, unless it has been asked and has not answered yet."""
        asked = name, group
        if asked not in self._under_way and len(self._under_way) < STEPS_MAX:
            self._under_way.add(asked)
            self.count += 1
            self._requests.write(group, [step], STEP_BYTES, partial(self._answered, asked, done))

    def _answered(
        self, asked: tuple[bytes, int], done: Callable[[WriteOutcome], None], outcome: WriteOutcome
    ) -> None:
        self._under_way.discard(asked)
        done(outcome)


def _ignore(_: WriteOutcome) -> None:
    """What is left undone is repeated at a later tick."""
