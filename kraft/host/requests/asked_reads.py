"""Reads for nodes that have no replica of the group, confirmed here as those of a client of this node.

The answer is an excerpt of the keyspace, or what the client port answers to a command on all keys. Nothing of
a read is kept here: whoever asks repeats the question where no answer comes.
"""

from functools import partial

from kraft.host.evaluators import Evaluators
from kraft.host.requests.read_refusals import outcome_of
from kraft.host.requests.round import ReadOutcome, View
from kraft.host.requests.transaction_waits import TransactionWaits
from kraft.host.turns import Turns
from kraft.kv.excerpt import EXCERPT_BYTES, encode_rows, excerpt_rows
from kraft.node.errors import Refused, TooMuch
from kraft.peerwire.messages import READ, QueryKeys, ReadKeys, ReadKeysReply


class AskedReads:
    """The reads of one group that other nodes ask this one for."""

    def __init__(self, group: int, waits: TransactionWaits, turns: Turns, evaluators: Evaluators) -> None:
        self._group = group
        self._waits = waits
        self._turns = turns
        self._evaluators = evaluators

    def asked(self, peer: str, message: ReadKeys) -> None:
        """Another node asks for a read."""
        names = message.names
        self._waits.read(lambda: names, partial(self._viewed, peer, message), message.fresh)

    def queried(self, peer: str, message: QueryKeys) -> None:
        """Another node asks for a part of a command on all keys."""
        queries, reply = self._evaluators.queries, partial(self._reply, peer, message.request)
        if queries is None:  # the client port is not open yet
            reply(Refused())
        else:
            queries.answer(self._group, message.query, reply, fresh=message.fresh)

    def _viewed(self, peer: str, message: ReadKeys, outcome: ReadOutcome) -> None:
        answer: bytes | Exception = TooMuch(EXCERPT_BYTES)
        if isinstance(outcome, View):
            found = excerpt_rows(
                outcome.keyspace,
                outcome.now_ms,
                outcome.revision,
                message.names,
                message.needed,
                message.rows,
            )
            if found is not None:
                answer = encode_rows(found)
        else:
            answer = outcome
        self._reply(peer, message.request, answer)

    def _reply(self, peer: str, request: int, answer: bytes | Exception) -> None:
        if isinstance(answer, bytes):
            reply = ReadKeysReply(request, READ, answer)
        else:
            reply = ReadKeysReply(request, outcome_of(answer), b"")
        self._turns.post(peer, self._group, reply)
        if isinstance(answer, Exception) and not isinstance(answer, Refused):
            raise answer  # a bug, which the log has to show
