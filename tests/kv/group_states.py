"""State machines of a few groups, and the steps of transactions over them, for tests."""

from typing import Any

from kraft.kv.commands import (
    Command,
    Commit,
    Decide,
    Exec,
    Expire,
    Expiry,
    Forget,
    Prepare,
    Resolve,
    TransactionId,
    Watched,
)
from kraft.kv.keyspace import Keyspace
from kraft.kv.ledger import LedgerKind
from kraft.kv.machine import Machine
from kraft.kv.transaction_reply import TransactionReply, transaction_reply

NOW = 1_700_000_000_000
SESSION = b"K1-ab-1"
HOME = 9  # the number of the home group
KINDS = (LedgerKind.PREPARED, LedgerKind.DECISION, LedgerKind.FINISHED, LedgerKind.MARK)


def t(number: int = 1, start: int = NOW, session: bytes = SESSION) -> TransactionId:
    return TransactionId(session, number, start)


def work(*steps: Any, watched: tuple[Watched, ...] = (), read: tuple[Watched, ...] = ()) -> Exec:
    return Exec(watched, steps, read)


def one(machine: Machine, command: Command, stamp: int = NOW) -> Any:
    [reply] = machine.apply(stamp, [command])
    return reply


def step(machine: Machine, command: Command, stamp: int = NOW) -> TransactionReply:
    """The reply to a step of a transaction, as it arrives at the coordinator."""
    return transaction_reply(one(machine, command, stamp))


def prepare(
    machine: Machine, id_: TransactionId, *steps: Any, stamp: int = NOW, **options: Any
) -> TransactionReply:
    mark = options.pop("mark", 0)
    return step(machine, Prepare(id_, mark, HOME, work(*steps, **options)), stamp)


def commit(
    machine: Machine, id_: TransactionId, *steps: Any, stamp: int = NOW, **options: Any
) -> TransactionReply:
    mark, participants = options.pop("mark", 0), options.pop("participants", (1,))
    return step(machine, Commit(id_, mark, participants, work(*steps, **options)), stamp)


def resolve(
    machine: Machine, id_: TransactionId, committed: bool = True, stamp: int = NOW
) -> TransactionReply:
    return step(machine, Resolve(id_, committed), stamp)


def forget(machine: Machine, id_: TransactionId, participant: int = 1, stamp: int = NOW) -> TransactionReply:
    return step(machine, Forget(id_, participant), stamp)


def decide(
    machine: Machine, id_: TransactionId, *, holder: bool = True, stamp: int = NOW
) -> TransactionReply:
    return step(machine, Decide(id_, holder), stamp)


def kinds(machine: Machine) -> tuple[int, ...]:
    """How many rows there are of PREPARED, DECISION, FINISHED and MARK."""
    return tuple(machine.keyspace.ledger.counts[kind] for kind in KINDS)


def restored(machine: Machine) -> Machine:
    """The machine after a start from a checkpoint taken now."""
    keyspace = Keyspace()
    records = machine.keyspace.records.values()
    keyspace.load([(r.key, r.value, r.revision, r.expires) for r in records])
    rows = machine.keyspace.ledger.rows.values()
    keyspace.ledger.load([(r.key, r.value, r.revision, r.expires) for r in rows])
    again = Machine.restored(keyspace, machine.stamp, machine.revision, machine.version)
    again.expired = machine.expired
    return again


def check_index(machine: Machine) -> None:
    """Fail unless the tables in memory are those that the rows of the ledger make."""
    index, fresh = machine.keyspace.transactions, restored(machine).keyspace.transactions
    assert index.prepared == fresh.prepared
    assert index.decisions == fresh.decisions
    for name in ("exclusive", "shared", "whole"):
        assert getattr(index.locks, name) == getattr(fresh.locks, name), name


def due(machine: Machine, *keys: bytes, after: int = 10) -> None:
    """Let keys expire so many milliseconds after NOW."""
    machine.apply(NOW, [Expire(key, Expiry.RELATIVE, after) for key in keys])
