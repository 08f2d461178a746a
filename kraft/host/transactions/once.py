"""KRAFT ONCE in front of a transaction over several groups: it takes effect once for its token.

The group that has the slot of the first key remembers the token. It is asked first, so that a repetition
locks nothing, and computes nothing anew. Else the transaction is executed, and the entry of that group that
decides looks for the token again: of several attempts, from whichever nodes, only one can commit. That a
watched key had changed is a reply like others: no later attempt may commit after a client was told so.
"""

from collections.abc import Callable

from msgspec.structs import replace

from kraft.host.requests.round import ReadOutcome, View
from kraft.host.transactions.coordinator import Coordinator, TransactionDone, TransactionOutcome
from kraft.host.transactions.key_lock import STEP_BYTES
from kraft.host.transactions.ports import GroupRequests
from kraft.host.transactions.token_use import Remembered, TokenUse
from kraft.kv.commands import Exec, Look
from kraft.kv.once import settled


class OnceTransaction:
    """Executes, by `begin`, what uses a token; `done` gets what `Coordinator.execute` gives.

    `begin` gets what to call with its outcome.
    """

    def __init__(
        self,
        use: TokenUse,
        begin: Callable[[TransactionDone], None],
        requests: GroupRequests,
        coordinator: Coordinator,
        done: TransactionDone,
    ) -> None:
        self._use = use
        self._begin = begin
        self._requests = requests
        self._coordinator = coordinator
        self._done = done

    def look(self) -> None:
        """Look for the token, and go on from there."""
        token = self._use.token
        self._requests.read(self._use.home, lambda: (token.key,), self._looked)

    def _looked(self, outcome: ReadOutcome) -> None:
        if not isinstance(outcome, View):
            self._done(outcome)
            return
        known = settled(outcome.keyspace.ledger, outcome.now_ms, self._use.token)
        if known is None:
            self._begin(self._executed)
        else:
            self._coordinator.outcomes["repeated"] += 1
            self._done(Remembered(known.reply))

    def _executed(self, outcome: TransactionOutcome) -> None:
        """A watched key has changed: record that, in an entry that looks for the token as well."""
        if outcome is not None:
            self._done(outcome)
            return
        use = replace(self._use, united=_nothing)
        look = Exec((), (Look((use.token.key,)),))  # locks the key, so that its slot stays
        self._coordinator.execute({use.home: look}, STEP_BYTES + len(use.token.key), self._recorded, use=use)

    def _recorded(self, outcome: TransactionOutcome) -> None:
        self._done(None if isinstance(outcome, dict) else outcome)


def _nothing(_: object) -> None:
    """The reply to EXEC when a watched key has changed."""
