"""What the steps of a transaction over several groups do to the state of one of them.

`kraft.kv.commands.transaction` says what the steps are. All they leave is rows of the ledger: PREPARED while
its locks are held, DECISION at the home group until every participant has confirmed, FINISHED with what
became of a transaction, so that a step that comes late does no harm, and MARK for each session. A FINISHED
row goes when its transaction is below the mark of its session, or so old that steps are refused for that.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from kraft.kv.commands import Commit, CommitOnce, Decide, Exec, Forget, Prepare, Resolve, TransactionId
from kraft.kv.commands.transaction import LIFE_MS, NUMBER_BYTES, transaction_name
from kraft.kv.execution import Run, execute
from kraft.kv.footprint import Footprint, footprint
from kraft.kv.keyspace import Keyspace
from kraft.kv.ledger import LedgerKind
from kraft.kv.once import FORGOTTEN_PER_USE, remember, settled
from kraft.kv.prepared import decode_prepared, prepare_work
from kraft.kv.replies import CommandFailure, Reply, decode_replies, encode_replies
from kraft.kv.state import MachineState
from kraft.kv.transaction_index import Decision, Hold
from kraft.kv.transaction_reply import StepOutcome, TransactionReply

_PREPARED, _DECISION, _FINISHED = LedgerKind.PREPARED, LedgerKind.DECISION, LedgerKind.FINISHED
_MARK = LedgerKind.MARK


class _Finished(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The data of a FINISHED row: what became of a transaction, and the revision of its changes here."""

    committed: bool
    revision: int


class _Decided(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The data of a DECISION row, with the encoded reply to the Commit."""

    decision: Decision
    replies: bytes


def prepare(state: MachineState, command: Prepare, run: Run) -> Reply:
    """Lock the keys of `work`, and keep what it is going to change."""
    space, id_ = state.keyspace, command.id
    _advance(state, id_, command.mark)
    row = space.ledger.get(_PREPARED, id_.name)
    if row is not None:
        prepared = decode_prepared(row.value)
    elif _finished(state, id_) is not None or id_.name in space.transactions.decisions:
        return _reply(StepOutcome.FINISHED)
    elif _is_old(state, id_):
        return _reply(StepOutcome.TOO_OLD)
    else:
        wanted = footprint(command.work)
        refusal = _refusal(state, id_, command.work, wanted)
        if refusal is not None:
            return refusal.to_reply()
        hold = Hold(id_, command.home, state.stamp, wanted)
        prepared = prepare_work(state, hold, command.work, run)
        space.ledger.put(_PREPARED, id_.name, prepared.encoded(), state.revision)
        space.transactions.hold(hold)
    replies = decode_replies(prepared.replies)[0]
    return _reply(StepOutcome.PREPARED, replies=replies, revision=prepared.provisional)


def commit(state: MachineState, command: Commit, run: Run) -> Reply:
    """Execute `work` and record it, or record that the transaction is aborted: it is decided here."""
    space, id_ = state.keyspace, command.id
    _advance(state, id_, command.mark)
    known = _decided(state, id_)
    if known is not None:
        return known.to_reply()
    if _is_old(state, id_):  # it may have been done, and forgotten
        return _reply(StepOutcome.TOO_OLD)
    if id_.name in space.transactions.prepared:
        _release(state, id_)
    refusal = _refusal(state, id_, command.work, footprint(command.work))
    if refusal is not None:
        _finish(state, id_, committed=False)
        reason, holder, home = refusal.outcome, refusal.holder, refusal.home
        return _reply(StepOutcome.ABORTED, reason=reason, holder=holder, home=home)
    replies = execute(state, command.work.steps, run)
    _record(state, id_, command.participants, replies)
    return _reply(StepOutcome.COMMITTED, replies=replies)


def commit_once(state: MachineState, command: CommitOnce, _: Run) -> Reply:
    """Let what was prepared here take effect, and remember its token; or record that it is aborted."""
    space, id_ = state.keyspace, command.id
    _advance(state, id_, command.mark)
    known = _decided(state, id_)
    if known is not None:
        return known.to_reply()
    if _is_old(state, id_):
        return _reply(StepOutcome.TOO_OLD)
    row = space.ledger.get(_PREPARED, id_.name)
    token = settled(space.ledger, state.stamp, command.token)
    # Its keys may have been divided by a newer map than that which says where the token is.
    strays = space.slots is not None and space.slots.refusal((command.token.key,)) is not None
    if row is None or token is not None or strays:
        if row is not None:
            _release(state, id_)
        _finish(state, id_, committed=False)
        if token is None:
            reason = StepOutcome.NOT_OWNER if strays else StepOutcome.LOCKED
            return _reply(StepOutcome.ABORTED, reason=reason)
        state.repeats += token.repeats
        return _reply(StepOutcome.ABORTED, reason=StepOutcome.TOKEN, replies=token.reply)
    decode_prepared(row.value).install(state)
    _release(state, id_)
    remember(state, command.token, decode_replies(command.reply)[0])
    _record(state, id_, command.participants, None)
    return _reply(StepOutcome.COMMITTED)


def resolve(state: MachineState, command: Resolve, _: Run) -> Reply:
    """Let what was prepared take effect, or drop it, and unlock its keys."""
    id_, revision = command.id, 0
    row = state.keyspace.ledger.get(_PREPARED, id_.name)
    if row is not None:
        if command.commit:
            revision = decode_prepared(row.value).install(state)
        _release(state, id_)
        _finish(state, id_, committed=command.commit, revision=revision)
        return _reply(StepOutcome.RESOLVED, revision=revision)
    known = _finished(state, id_)
    if known is not None:
        revision = known.revision
    elif id_.name not in state.keyspace.transactions.decisions:
        _finish(state, id_, committed=command.commit)  # a Prepare that comes late finds it over
    return _reply(StepOutcome.RESOLVED, revision=revision)


def forget(state: MachineState, command: Forget, _: Run) -> Reply:
    """A participant has confirmed; after the last one only the id stays."""
    space, id_ = state.keyspace, command.id
    decision = space.transactions.decisions.get(id_.name)
    if decision is not None and command.participant in decision.waiting:
        waiting = tuple([group for group in decision.waiting if group != command.participant])
        if waiting:
            row = _decision_row(state, id_.name)
            _put_decision(state, Decision(decision.id, waiting), row.replies)
        else:
            space.ledger.remove(_DECISION, id_.name)
            del space.transactions.decisions[id_.name]
            _finish(state, decision.id, committed=True)
    return _reply(StepOutcome.FORGOTTEN)


def decide(state: MachineState, command: Decide, _: Run) -> Reply:
    """What was decided; if nothing was, the transaction is aborted from here on."""
    known = _decided(state, command.id)
    if known is not None:
        return known.to_reply()
    if _is_old(state, command.id):
        return _reply(StepOutcome.ABORTED if command.holder else StepOutcome.TOO_OLD)
    _finish(state, command.id, committed=False)
    return _reply(StepOutcome.ABORTED)


def index_transactions(keyspace: Keyspace) -> None:
    """Fill the index of a keyspace that was loaded, from the rows of its ledger."""
    ledger, index = keyspace.ledger, keyspace.transactions
    if not any(ledger.counts[kind] for kind in (_PREPARED, _DECISION, _FINISHED)):
        return
    finished = []
    for key, row in ledger.rows.items():
        if key[0] == _PREPARED:
            index.hold(decode_prepared(row.value).hold)
        elif key[0] == _DECISION:
            index.decisions[key[1:]] = _decode_decided(row.value).decision
        elif key[0] == _FINISHED:
            finished.append(key[1:])
    index.fill_finished(finished)


# -- what is known of a transaction ---------------------------------------------------------------------


def knows(state: MachineState, id_: TransactionId) -> bool:
    """Whether the transaction is decided, or over, here: no step changes that any more."""
    decided = id_.name in state.keyspace.transactions.decisions
    return decided or _finished(state, id_) is not None or _is_old(state, id_)


def has_committed(state: MachineState, id_: TransactionId) -> bool:
    """Whether this group, the home group, is known to have committed the transaction."""
    known = _finished(state, id_)
    return id_.name in state.keyspace.transactions.decisions or (known is not None and known.committed)


def _refusal(
    state: MachineState, id_: TransactionId, work: Exec, wanted: Footprint
) -> TransactionReply | None:
    """Why `work` cannot be done now; None when it can."""
    space = state.keyspace
    if space.slots is not None:
        refused = space.slots.refusal((*wanted.written, *wanted.read), whole=bool(wanted.whole))
        if refused is CommandFailure.NOT_OWNER:
            return TransactionReply(outcome=StepOutcome.NOT_OWNER)
        if refused is not None:
            return TransactionReply(outcome=StepOutcome.LOCKED)
    obstacle = space.transactions.obstacle(wanted, id_.name)
    if obstacle is not None:
        return TransactionReply(outcome=StepOutcome.LOCKED, holder=obstacle.id, home=obstacle.home)
    if not space.unchanged(work.watched):
        return TransactionReply(outcome=StepOutcome.CHANGED)
    if work.read and not space.unchanged(work.read):
        return TransactionReply(outcome=StepOutcome.CONFLICT)
    return None


def _decided(state: MachineState, id_: TransactionId) -> TransactionReply | None:
    """What this group, the home group, has decided; None when it has not, or does not know any more."""
    if id_.name in state.keyspace.transactions.decisions:
        replies = decode_replies(_decision_row(state, id_.name).replies)[0]
        return TransactionReply(outcome=StepOutcome.COMMITTED, replies=replies)
    known = _finished(state, id_)
    if known is None:
        return None
    return TransactionReply(outcome=StepOutcome.COMMITTED if known.committed else StepOutcome.ABORTED)


def _decision_row(state: MachineState, name: bytes) -> _Decided:
    row = state.keyspace.ledger.rows[bytes([_DECISION]) + name]
    return _decode_decided(row.value)


def _finished(state: MachineState, id_: TransactionId) -> _Finished | None:
    row = state.keyspace.ledger.get(_FINISHED, id_.name)
    return None if row is None else _decode_finished(row.value)


def _mark(state: MachineState, session: bytes) -> int:
    row = state.keyspace.ledger.get(_MARK, session)
    return 0 if row is None else int.from_bytes(row.value, "big")


def _is_old(state: MachineState, id_: TransactionId) -> bool:
    """Whether what became of the transaction may be forgotten."""
    return id_.start + LIFE_MS <= state.stamp or id_.number < _mark(state, id_.session)


# -- changes --------------------------------------------------------------------------------------------


def _advance(state: MachineState, id_: TransactionId, mark: int) -> None:
    """Forget what is over: by the mark of the session, and a little of what log time has ended."""
    ledger, index = state.keyspace.ledger, state.keyspace.transactions
    ledger.forget(state.stamp, FORGOTTEN_PER_USE)
    index.prune(ledger)
    if mark > _mark(state, id_.session):
        # Lower numbers began earlier: when this row is due, they are too old in any case.
        data, due = mark.to_bytes(NUMBER_BYTES, "big"), id_.start + LIFE_MS
        ledger.put(_MARK, id_.session, data, state.revision, due)
        for number in index.cut(id_.session, mark):
            ledger.remove(_FINISHED, transaction_name(id_.session, number))


def _finish(state: MachineState, id_: TransactionId, *, committed: bool, revision: int = 0) -> None:
    """Remember what became of the transaction, as long as that matters."""
    if not _is_old(state, id_) and _finished(state, id_) is None:
        data = _encode(_Finished(committed, revision))
        state.keyspace.ledger.put(_FINISHED, id_.name, data, state.revision, id_.start + LIFE_MS)
        state.keyspace.transactions.finish(id_.name)


def _record(state: MachineState, id_: TransactionId, participants: tuple[int, ...], replies: Reply) -> None:
    """Record that the transaction is committed, for as long as one of its participants may ask."""
    if participants:
        _put_decision(state, Decision(id_, tuple(sorted(participants))), encode_replies((replies,)))
    else:
        _finish(state, id_, committed=True)


def _put_decision(state: MachineState, decision: Decision, replies: bytes) -> None:
    name = decision.id.name
    state.keyspace.ledger.put(_DECISION, name, _encode(_Decided(decision, replies)), state.revision)
    state.keyspace.transactions.decisions[name] = decision


def _release(state: MachineState, id_: TransactionId) -> None:
    """Unlock the keys of a transaction that has prepared. Those that fell due meanwhile expire now."""
    state.keyspace.ledger.remove(_PREPARED, id_.name)
    state.keyspace.release(id_.name)
    state.expire()


def _reply(outcome: StepOutcome, **details: Any) -> Reply:
    return TransactionReply(outcome=outcome, **details).to_reply()


_encode = msgspec.msgpack.Encoder().encode
_decode_finished = msgspec.msgpack.Decoder(_Finished).decode
_decode_decided = msgspec.msgpack.Decoder(_Decided).decode

FUNCTIONS: dict[type, Callable[[MachineState, Any, Run], Reply]] = {
    Prepare: prepare,
    Commit: commit,
    CommitOnce: commit_once,
    Resolve: resolve,
    Forget: forget,
    Decide: decide,
}
"""The function of each step; the last argument applies a command."""
