"""KRAFT ONCE in the state machine: one effect for each token, until log time forgets it."""

import msgspec
import pytest

from kraft.kv.commands import (
    Delete,
    Evaluated,
    Exec,
    Expire,
    Expiry,
    Flush,
    Guarded,
    Increment,
    Lock,
    Look,
    Once,
    Put,
    Watched,
    decode,
    encode,
    expires_within,
    needed_version,
)
from kraft.kv.errors import UnknownCommand
from kraft.kv.keyspace import Keyspace
from kraft.kv.ledger import LedgerKind, ledger_bytes
from kraft.kv.machine import Machine
from kraft.kv.once import FORGOTTEN_PER_MARKER, FORGOTTEN_PER_USE
from kraft.kv.replies import CommandFailure, encode_replies

NOW = 1_700_000_000_000
TTL = 1000
PRINT = bytes(16)
OTHER = bytes(15) + b"\1"


def once(command, token=b"t", **fields):
    return Once(token, fields.pop("fingerprint", PRINT), command, TTL, **fields)


def one(machine, command, stamp=NOW):
    (reply,) = machine.apply(stamp, [command])
    return reply


def tokens(machine):
    return machine.keyspace.ledger.counts[LedgerKind.TOKEN]


def restored(machine):
    """What a checkpoint makes of it."""
    keyspace = Keyspace()
    keyspace.load([(r.key, r.value, r.revision, r.expires) for r in machine.keyspace.records.values()])
    rows = machine.keyspace.ledger.rows.values()
    keyspace.ledger.load([(r.key, r.value, r.revision, r.expires) for r in rows])
    return Machine.restored(keyspace, machine.stamp, machine.revision, machine.version)


@pytest.mark.parametrize("between", [lambda machine: machine, restored])
def test_a_repetition_gets_the_first_reply_and_has_no_effect(between):
    machine = Machine()
    assert one(machine, once(Increment(b"n", 5))) == 5
    machine = between(machine)
    revision = machine.revision
    assert one(machine, once(Increment(b"n", 5)), NOW + TTL - 1) == 5
    assert machine.keyspace.get(b"n") == b"5"
    assert (machine.revision, machine.repeats) == (revision, 1)
    assert one(machine, once(Increment(b"n", 5), b"another"), NOW + TTL - 1) == 10


def test_log_time_forgets_a_token_at_its_last_millisecond():
    machine = Machine()
    assert one(machine, once(Increment(b"n", 1))) == 1
    assert one(machine, once(Increment(b"n", 1)), NOW + TTL) == 2
    assert tokens(machine) == 1
    assert one(machine, once(Increment(b"n", 1)), NOW + 2 * TTL - 1) == 2


def test_a_token_with_another_command_is_refused():
    machine = Machine()
    assert one(machine, once(Put(b"a", b"1"))) == "OK"
    digest = machine.digest()
    assert one(machine, once(Put(b"a", b"2"), fingerprint=OTHER)) == CommandFailure.TOKEN_REUSED
    assert machine.digest() == digest


def test_failures_are_remembered_like_any_reply():
    machine = Machine()
    one(machine, Put(b"n", b"text"))
    assert one(machine, once(Increment(b"n", 1))) == CommandFailure.NOT_AN_INTEGER
    one(machine, Put(b"n", b"1"))
    assert one(machine, once(Increment(b"n", 1))) == CommandFailure.NOT_AN_INTEGER
    assert one(machine, once(Guarded(b"l", 1, Put(b"a", b"1")), b"u")) == CommandFailure.LOCK_LOST
    assert machine.keyspace.get(b"n") == b"1"


@pytest.mark.parametrize(
    "limits", [{"tokens_max": 2}, {"bytes_max": 2 * ledger_bytes(b"\x01t", PRINT + b"\x91\xa2OK", 1)}]
)
def test_a_full_ledger_executes_nothing(limits):
    machine = Machine()
    for token in (b"1", b"2"):
        assert one(machine, once(Put(b"a", token), token, **limits)) == "OK"
    assert one(machine, once(Put(b"a", b"3"), b"3", **limits)) == CommandFailure.TOO_MANY_TOKENS
    assert one(machine, once(Put(b"a", b"1"), b"1", **limits)) == "OK"  # known
    assert machine.keyspace.get(b"a") == b"2"
    assert one(machine, once(Put(b"a", b"3"), b"3", **limits), NOW + TTL) == "OK"


def test_many_tokens_are_forgotten_a_few_at_a_time():
    machine, count = Machine(), 2 * FORGOTTEN_PER_USE + 2 * FORGOTTEN_PER_MARKER
    for number in range(count):
        one(machine, once(Delete((b"x",)), b"%d" % number))
    late = NOW + TTL
    last = b"%d" % (count - 1)
    assert one(machine, once(Increment(b"n", 1), last, fingerprint=OTHER), late) == 1  # due, and not yet gone
    assert tokens(machine) == count - FORGOTTEN_PER_USE
    machine.mark(late)
    assert tokens(machine) == count - FORGOTTEN_PER_USE - FORGOTTEN_PER_MARKER
    machine.mark(late)
    machine.mark(late)
    assert tokens(machine) == 1


def test_a_flush_forgets_no_token():
    machine = Machine()
    one(machine, once(Flush()))
    one(machine, Put(b"a", b"1"))
    assert one(machine, once(Flush())) == "OK"
    assert machine.keyspace.get(b"a") == b"1"


def test_a_transaction_happens_once_with_its_reads():
    machine = Machine()
    transaction = Exec((), (Increment(b"n", 1), Look((b"n",))))
    first = one(machine, once(transaction))
    assert first == [NOW, [[b"1", 1, 0]], [1, [1, 0]]]
    one(machine, Put(b"n", b"9"))
    assert one(machine, once(transaction), NOW + 1) == first
    assert machine.keyspace.get(b"n") == b"9"


def test_an_aborted_transaction_stays_aborted():
    machine = Machine()
    one(machine, Put(b"n", b"1"))
    aborted = Exec((Watched(b"n", 9, 9),), (Increment(b"n", 1),))
    assert one(machine, once(aborted)) is None
    fits = Exec((Watched(b"n", 1, 1),), (Increment(b"n", 1),))
    assert one(machine, once(fits)) is None
    assert machine.keyspace.get(b"n") == b"1"


def test_the_effects_of_a_script_happen_once_with_its_reply():
    """Those that do not fit are not remembered: the leader evaluates the script again."""
    machine = Machine()
    stale = Evaluated((Increment(b"n", 1),), encode_replies((7,)), (Watched(b"a", 9, 9),))
    assert one(machine, once(stale)) == CommandFailure.SCRIPT_CONFLICT
    assert (machine.revision, tokens(machine)) == (0, 0)
    fits = Evaluated((Increment(b"n", 1), Put(b"m", b"1")), encode_replies((7,)), (Watched(b"a", 0, 0),))
    assert one(machine, once(fits)) == 7
    assert one(machine, once(stale)) == 7
    assert machine.keyspace.get(b"n") == b"1"
    assert machine.revision == machine.keyspace.revision(b"n") == machine.keyspace.revision(b"m") == 1


def test_a_lock_is_taken_once():
    machine = Machine()
    assert one(machine, once(Lock(b"l", 50))) == [1, 1, NOW + 50, NOW]
    assert one(machine, once(Lock(b"l", 50)), NOW + 60) == [1, 1, NOW + 50, NOW]
    assert machine.keyspace.get(b"l") is None


def test_the_digest_covers_tokens():
    one_, other = Machine(), Machine()
    one(one_, once(Put(b"a", b"1")))
    one(other, once(Put(b"a", b"1"), b"u"))
    assert one_.keyspace.digest() == other.keyspace.digest()
    assert one_.digest() != other.digest()


def test_what_the_host_asks_of_a_command():
    absolute = Expire(b"a", Expiry.ABSOLUTE, 50)
    for command in (absolute, Exec((), (absolute,)), Guarded(b"l", 1, absolute)):
        assert expires_within(once(command), range(40, 60))
        assert not expires_within(once(command), range(60, 70))
    assert needed_version([once(Put(b"a", b""))]) == 3


def test_it_travels_and_does_not_nest():
    command = once(Exec((), (Put(b"a", b"b"), Look((b"c",)))), tokens_max=5, bytes_max=6)
    assert decode(encode([command])) == [command]
    nested = msgspec.structs.replace(command, command=once(Put(b"a", b"b")))
    with pytest.raises(UnknownCommand):
        decode(encode([nested]))
