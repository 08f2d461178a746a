"""Locks in the state machine: log time ends them, and a token is never smaller than one before it."""

import pytest

from kraft.kv.commands import (
    AppendValue,
    ClearExpiry,
    Delete,
    Expire,
    Expiry,
    Extend,
    Flush,
    Guarded,
    Lock,
    Put,
    Rename,
    Set,
    Unlock,
    needed_version,
)
from kraft.kv.keyspace import Keyspace
from kraft.kv.machine import Machine
from kraft.kv.replies import CommandFailure

NOW = 1_700_000_000_000
TTL = 1000


def one(machine, command, stamp=NOW):
    (reply,) = machine.apply(stamp, [command])
    return reply


def token_of(machine, owner=b"", stamp=NOW):
    given, token, _, _ = one(machine, Lock(b"l", TTL, owner), stamp)
    return token if given else None


def test_a_lock_is_given_once_until_it_is_freed():
    machine = Machine()
    token = token_of(machine)

    assert token == 1
    assert one(machine, Lock(b"l", TTL), NOW + 10) == [0, token, NOW + TTL, NOW + 10]
    assert one(machine, Unlock(b"l", 9), NOW + 10) == 0
    assert one(machine, Unlock(b"l", token), NOW + 10) == 1
    assert token_of(machine, stamp=NOW + 10) > token


def test_log_time_ends_a_lock_at_its_last_millisecond():
    machine = Machine()
    token = token_of(machine)

    assert token_of(machine, stamp=NOW + TTL - 1) is None
    assert one(machine, Guarded(b"l", token, Put(b"k", b"in time")), NOW + TTL - 1) == "OK"
    assert one(machine, Guarded(b"l", token, Put(b"k", b"late")), NOW + TTL) == CommandFailure.LOCK_LOST
    assert machine.keyspace.get(b"k") == b"in time"
    assert token_of(machine, stamp=NOW + TTL) > token


def test_an_extended_lock_keeps_its_token():
    machine = Machine()
    token = token_of(machine)

    assert one(machine, Extend(b"l", token, 5000), NOW + 900) == 1
    assert one(machine, Guarded(b"l", token, Put(b"k", b"v")), NOW + 5899) == "OK"
    assert one(machine, Extend(b"l", token, 5000), NOW + 5900) == 0, "it has expired"


def test_the_same_owner_gets_the_same_token_again_with_new_time():
    machine = Machine()
    token = token_of(machine, b"me")

    assert token_of(machine, b"you", NOW + 500) is None
    assert token_of(machine, b"me", NOW + 500) == token
    assert machine.keyspace.expires(b"l") == NOW + 500 + TTL


def test_no_owner_is_no_name_that_two_clients_share():
    machine = Machine()
    token_of(machine)
    assert token_of(machine) is None


@pytest.mark.parametrize(
    "other",
    [
        Delete((b"l",)),
        Put(b"l", b"me"),
        Set(b"l", b"1"),
        AppendValue(b"l", b"x"),
        Rename(b"k", b"l"),
        Rename(b"l", b"k"),
        ClearExpiry(b"l"),
        Expire(b"l", Expiry.RELATIVE, 9000),
        Expire(b"l", Expiry.RELATIVE, 0),
        Flush(),
    ],
)
def test_any_other_write_to_the_key_ends_the_lock(other):
    machine = Machine()
    one(machine, Put(b"k", b"1"))
    token = token_of(machine, b"me")
    one(machine, other)

    assert one(machine, Guarded(b"l", token, Put(b"x", b"v"))) == CommandFailure.LOCK_LOST
    assert (one(machine, Unlock(b"l", token)), one(machine, Extend(b"l", token, 1))) == (0, 0)
    one(machine, Delete((b"l",)))
    assert token_of(machine) > token


def test_token_0_is_never_held_though_a_missing_key_has_revision_0():
    machine = Machine()
    assert one(machine, Guarded(b"l", 0, Put(b"k", b"v"))) == CommandFailure.LOCK_LOST
    assert one(machine, Unlock(b"l", 0)) == 0
    assert one(machine, Extend(b"l", 0, 1)) == 0


def test_a_token_grows_over_a_checkpoint_of_a_state_without_keys():
    machine = Machine()
    token = token_of(machine)
    one(machine, Delete((b"l",)))
    restored = Machine.restored(Keyspace(), machine.stamp, machine.revision, machine.version)

    assert token_of(restored) > token


def test_a_guard_needs_the_version_of_its_command():
    assert needed_version([Guarded(b"l", 1, Put(b"k", b"v"))]) == 3
