"""The machine, command by command: what it replies, what it changes, which revisions it gives."""

import pytest

from kraft.kv.commands import (
    VALUE_BYTES_MAX,
    AppendValue,
    ClearExpiry,
    Condition,
    Delete,
    Expire,
    Expiry,
    GetDelete,
    Guard,
    Increment,
    Put,
    Set,
    SetMany,
    SetRange,
)
from kraft.kv.errors import BrokenInvariant
from kraft.kv.keyspace import Keyspace
from kraft.kv.machine import Machine
from kraft.kv.replies import CommandFailure
from kraft.kv.state import EXPIRY_MS_MAX
from kraft.kv.versions import MACHINE_VERSION
from kraft.raft.membership.configuration import NOBODY, Base

NOW = 1_700_000_000_000
BASE = Base(1, 1, NOW, 1, NOBODY)


def machine_with(**values: bytes) -> Machine:
    machine = Machine()
    machine.apply(NOW, [Put(key.encode(), value) for key, value in values.items()])
    return machine


def one(machine: Machine, command, stamp: int = NOW):
    (reply,) = machine.apply(stamp, [command])
    return reply


class TestPlainWrites:
    def test_put_stores_and_takes_a_revision_each_time(self):
        machine = Machine()
        assert machine.apply(NOW, [Put(b"a", b"1"), Put(b"a", b"1")]) == ["OK", "OK"]
        assert machine.keyspace.get(b"a") == b"1"
        assert machine.revision == machine.keyspace.revision(b"a") == 2

    def test_put_takes_the_expiry_away(self):
        machine = machine_with(a=b"1")
        one(machine, Expire(b"a", Expiry.RELATIVE, 100))
        one(machine, Put(b"a", b"2"))
        assert machine.keyspace.expires(b"a") == 0
        assert machine.keyspace.due.next() is None

    def test_the_empty_key_and_value_are_ordinary(self):
        machine = Machine()
        one(machine, Put(b"", b""))
        assert machine.keyspace.get(b"") == b""
        assert b"" in machine.keyspace

    def test_set_many_is_one_change_and_the_last_pair_of_a_key_wins(self):
        machine = machine_with(z=b"0")
        assert one(machine, SetMany((b"a", b"1", b"b", b"2", b"a", b"3"))) == "OK"
        assert machine.keyspace.get(b"a") == b"3"
        assert machine.keyspace.revision(b"a") == machine.keyspace.revision(b"b") == 2

    def test_delete_counts_what_existed_once(self):
        machine = machine_with(a=b"1", b=b"2")
        assert one(machine, Delete((b"a", b"a", b"b", b"c"))) == 2
        assert (len(machine.keyspace), machine.revision) == (0, 3)

    def test_delete_of_nothing_takes_no_revision(self):
        machine = machine_with(a=b"1")
        assert one(machine, Delete((b"x",))) == 0
        assert machine.revision == 1

    def test_get_delete(self):
        machine = machine_with(a=b"1")
        assert machine.apply(NOW, [GetDelete(b"a"), GetDelete(b"a")]) == [b"1", None]
        assert machine.revision == 2

    def test_a_missing_key_has_revision_0(self):
        machine = machine_with(a=b"1")
        one(machine, Delete((b"a",)))
        assert machine.keyspace.revision(b"a") == 0


class TestSet:
    @pytest.mark.parametrize(
        ("condition", "key", "reply"),
        [
            (Condition.IF_MISSING, b"a", None),
            (Condition.IF_MISSING, b"new", "OK"),
            (Condition.IF_PRESENT, b"a", "OK"),
            (Condition.IF_PRESENT, b"new", None),
            (Condition.ALWAYS, b"a", "OK"),
        ],
    )
    def test_conditions(self, condition, key, reply):
        machine = machine_with(a=b"1")
        assert one(machine, Set(key, b"2", condition)) == reply
        assert (machine.keyspace.get(key) == b"2") == (reply == "OK")
        assert machine.revision == (2 if reply else 1)

    @pytest.mark.parametrize("condition", list(Condition))
    @pytest.mark.parametrize(("key", "old"), [(b"a", b"1"), (b"new", None)])
    def test_get_answers_the_old_value_whatever_the_condition(self, condition, key, old):
        machine = machine_with(a=b"1")
        assert one(machine, Set(key, b"2", condition, get=True)) == old

    def test_expiry_forms(self):
        machine = machine_with(a=b"1")
        one(machine, Set(b"a", b"1", expiry=Expiry.RELATIVE, expiry_ms=5))
        assert machine.keyspace.expires(b"a") == NOW + 5
        one(machine, Set(b"a", b"2", expiry=Expiry.KEEP))
        assert machine.keyspace.expires(b"a") == NOW + 5
        one(machine, Set(b"a", b"3", expiry=Expiry.ABSOLUTE, expiry_ms=NOW + 9))
        assert machine.keyspace.expires(b"a") == NOW + 9
        one(machine, Set(b"a", b"4"))
        assert machine.keyspace.expires(b"a") == 0
        one(machine, Set(b"new", b"4", expiry=Expiry.KEEP))
        assert machine.keyspace.expires(b"new") == 0

    def test_an_expiry_already_past_leaves_no_key(self):
        machine = machine_with(a=b"1")
        assert one(machine, Set(b"a", b"2", expiry=Expiry.ABSOLUTE, expiry_ms=NOW)) == "OK"
        assert b"a" not in machine.keyspace
        assert machine.revision == 2
        assert one(machine, Set(b"b", b"2", expiry=Expiry.ABSOLUTE, expiry_ms=1)) == "OK"
        assert machine.revision == 2, "nothing changed"

    def test_past_at_stamp_zero(self):
        machine = Machine()
        assert one(machine, Set(b"a", b"2", expiry=Expiry.ABSOLUTE, expiry_ms=0), stamp=0) == "OK"
        assert b"a" not in machine.keyspace

    def test_a_huge_expiry_is_cut_to_64_bits(self):
        machine = machine_with()
        one(machine, Set(b"a", b"1", expiry=Expiry.RELATIVE, expiry_ms=EXPIRY_MS_MAX))
        assert machine.keyspace.expires(b"a") == EXPIRY_MS_MAX


class TestIncrement:
    @pytest.mark.parametrize(
        "value",
        [
            b"",
            b" 1",
            b"1 ",
            b"+1",
            b"01",
            b"-0",
            b"-",
            b"--1",
            b"1_0",
            b"1.0",
            b"1e3",
            b"0x1",
            b"1\x00",
            b"9223372036854775808",
            b"-9223372036854775809",
            b"9" * 5000,
            "\u0661".encode(),
        ],
    )
    def test_only_the_shortest_form_of_a_64_bit_number_is_one(self, value):
        machine = machine_with(a=value)
        assert one(machine, Increment(b"a", 1)) == CommandFailure.NOT_AN_INTEGER
        assert machine.keyspace.get(b"a") == value
        assert machine.revision == 1

    @pytest.mark.parametrize(
        ("value", "amount", "reply"),
        [
            (b"0", 5, 5),
            (b"-1", 1, 0),
            (b"9223372036854775806", 1, 9223372036854775807),
            (b"-9223372036854775807", -1, -9223372036854775808),
            (b"9223372036854775807", 1, CommandFailure.OVERFLOW),
            (b"-9223372036854775808", -1, CommandFailure.OVERFLOW),
        ],
    )
    def test_results_stay_within_64_bits(self, value, amount, reply):
        machine = machine_with(a=value)
        answer = one(machine, Increment(b"a", amount))
        assert (type(answer), answer) == (type(reply), reply)
        assert machine.revision == (1 if reply is CommandFailure.OVERFLOW else 2)

    def test_a_missing_key_counts_as_0(self):
        machine = Machine()
        assert one(machine, Increment(b"a", -7)) == -7
        assert machine.keyspace.get(b"a") == b"-7"

    def test_it_keeps_the_expiry(self):
        machine = machine_with(a=b"1")
        one(machine, Expire(b"a", Expiry.RELATIVE, 100))
        one(machine, Increment(b"a", 1))
        assert machine.keyspace.expires(b"a") == NOW + 100


class TestAppend:
    def test_it_lengthens_or_makes(self):
        machine = machine_with(a=b"12")
        assert machine.apply(NOW, [AppendValue(b"a", b"3"), AppendValue(b"new", b"")]) == [3, 0]
        assert machine.keyspace.get(b"a") == b"123"
        assert machine.keyspace.get(b"new") == b""

    def test_it_keeps_the_expiry(self):
        machine = machine_with(a=b"1")
        one(machine, Expire(b"a", Expiry.RELATIVE, 100))
        one(machine, AppendValue(b"a", b"1"))
        assert machine.keyspace.expires(b"a") == NOW + 100

    def test_the_hard_maximum_of_a_value(self):
        machine = machine_with(a=bytes(VALUE_BYTES_MAX - 1))
        assert one(machine, AppendValue(b"a", b"12")) == CommandFailure.TOO_LARGE
        assert machine.revision == 1
        assert one(machine, AppendValue(b"a", b"1")) == VALUE_BYTES_MAX


class TestExpire:
    @pytest.mark.parametrize(
        ("guard", "old", "new", "reply"),
        [
            (Guard.ALWAYS, 0, 5, 1),
            (Guard.ALWAYS, 9, 5, 1),
            (Guard.IF_NONE, 0, 5, 1),
            (Guard.IF_NONE, 9, 5, 0),
            (Guard.IF_SOME, 0, 5, 0),
            (Guard.IF_SOME, 9, 5, 1),
            (Guard.IF_LATER, 0, 5, 0),
            (Guard.IF_LATER, 5, 5, 0),
            (Guard.IF_LATER, 4, 5, 1),
            (Guard.IF_EARLIER, 0, 5, 1),
            (Guard.IF_EARLIER, 5, 5, 0),
            (Guard.IF_EARLIER, 6, 5, 1),
        ],
    )
    def test_guards(self, guard, old, new, reply):
        machine = machine_with(a=b"1")
        if old:
            one(machine, Expire(b"a", Expiry.RELATIVE, old))
        before = machine.revision
        assert one(machine, Expire(b"a", Expiry.RELATIVE, new, guard)) == reply
        assert machine.keyspace.expires(b"a") == (NOW + new if reply else old and NOW + old)
        assert machine.revision == before + reply

    def test_a_missing_key(self):
        machine = machine_with()
        assert one(machine, Expire(b"a", Expiry.RELATIVE, 5)) == 0
        assert machine.revision == 0

    @pytest.mark.parametrize(
        ("expiry", "ms"), [(Expiry.RELATIVE, 0), (Expiry.RELATIVE, -5), (Expiry.ABSOLUTE, -1)]
    )
    def test_a_time_that_is_past_deletes(self, expiry, ms):
        machine = machine_with(a=b"1")
        assert one(machine, Expire(b"a", expiry, ms)) == 1
        assert b"a" not in machine.keyspace
        assert (machine.revision, machine.expired) == (2, 0)

    def test_a_guard_comes_before_a_past_time(self):
        machine = machine_with(a=b"1")
        assert one(machine, Expire(b"a", Expiry.ABSOLUTE, 1, Guard.IF_SOME)) == 0
        assert b"a" in machine.keyspace

    def test_persist(self):
        machine = machine_with(a=b"1")
        one(machine, Expire(b"a", Expiry.RELATIVE, 5))
        assert machine.apply(NOW, [ClearExpiry(b"a"), ClearExpiry(b"a"), ClearExpiry(b"b")]) == [1, 0, 0]
        assert machine.keyspace.due.next() is None
        assert machine.revision == 3


class TestSetRange:
    def test_it_overwrites_in_the_middle(self):
        machine = machine_with(a=b"Hello World")
        assert one(machine, SetRange(b"a", 6, b"Redis")) == 11
        assert machine.keyspace.get(b"a") == b"Hello Redis"

    def test_it_grows_the_value_at_its_end(self):
        machine = machine_with(a=b"abc")
        assert one(machine, SetRange(b"a", 2, b"xyz")) == 5
        assert machine.keyspace.get(b"a") == b"abxyz"

    @pytest.mark.parametrize("before", [b"", b"ab"])
    def test_a_gap_is_filled_with_zero_bytes(self, before):
        machine = machine_with(a=before) if before else machine_with()
        assert one(machine, SetRange(b"a", 4, b"x")) == 5
        assert machine.keyspace.get(b"a") == before.ljust(4, b"\0") + b"x"

    def test_nothing_to_write_changes_nothing(self):
        machine = machine_with(a=b"abc")
        before = machine.digest()
        assert machine.apply(NOW, [SetRange(b"a", 9, b""), SetRange(b"b", 9, b"")]) == [3, 0]
        assert machine.digest() == before
        assert b"b" not in machine.keyspace

    def test_the_expiry_stays(self):
        machine = machine_with(a=b"abc")
        one(machine, Expire(b"a", Expiry.RELATIVE, 5))
        one(machine, SetRange(b"a", 0, b"x"))
        assert machine.keyspace.expires(b"a") == NOW + 5

    def test_a_value_above_the_limit_of_the_command_is_refused(self):
        machine = machine_with(a=b"abcd")
        assert one(machine, SetRange(b"a", 3, b"xy", limit=4)) is CommandFailure.TOO_LARGE
        assert one(machine, SetRange(b"b", 2**62, b"x")) is CommandFailure.TOO_LARGE
        assert machine.revision == 1
        assert one(machine, SetRange(b"a", 2, b"xy", limit=4)) == 4
        assert machine.keyspace.get(b"a") == b"abxy"


class TestVersion:
    def test_a_machine_begins_with_the_first_version(self):
        assert Machine().version == 1

    def test_a_raise_is_part_of_the_state_and_no_change_of_a_key(self):
        machine = machine_with(a=b"1")
        before = machine.digest()
        machine.raise_version(NOW, MACHINE_VERSION)
        assert machine.version == MACHINE_VERSION
        assert machine.digest() != before
        assert machine.revision == 1

    def test_it_never_goes_back(self):
        machine = Machine()
        machine.raise_version(NOW, 2)
        machine.raise_version(NOW, 1)
        assert machine.version == 2

    def test_the_stamp_of_a_raise_counts(self):
        machine = machine_with(a=b"1")
        one(machine, Expire(b"a", Expiry.RELATIVE, 5))
        machine.raise_version(NOW + 5, 2)
        assert b"a" not in machine.keyspace

    def test_a_restored_machine_has_the_version_of_its_checkpoint(self):
        machine = Machine.restored(Keyspace(), NOW, 7, 2)
        assert (machine.stamp, machine.revision, machine.version) == (NOW, 7, 2)
        assert machine.capture(BASE).machine_version == 2


class TestTime:
    def test_a_key_goes_at_its_time_and_not_before(self):
        machine = machine_with(a=b"1")
        one(machine, Expire(b"a", Expiry.RELATIVE, 5))
        assert machine.keyspace.due.next() == NOW + 5
        machine.apply(NOW + 4, [])
        assert b"a" in machine.keyspace
        machine.apply(NOW + 5, [])
        assert b"a" not in machine.keyspace
        assert (machine.expired, machine.revision, machine.keyspace.due.next()) == (1, 2, None)

    def test_expiry_comes_before_the_commands_of_the_batch(self):
        machine = machine_with(a=b"1")
        one(machine, Expire(b"a", Expiry.RELATIVE, 5))
        assert one(machine, Set(b"a", b"2", Condition.IF_MISSING), stamp=NOW + 5) == "OK"
        assert machine.keyspace.expires(b"a") == 0

    def test_the_earliest_of_many_and_changes_of_mind(self):
        machine = machine_with(a=b"1", b=b"2", c=b"3")
        machine.apply(
            NOW, [Expire(key, Expiry.RELATIVE, ms) for key, ms in ((b"a", 30), (b"b", 10), (b"c", 20))]
        )
        one(machine, Expire(b"b", Expiry.RELATIVE, 40))
        assert machine.keyspace.due.next() == NOW + 20
        machine.apply(NOW + 30, [])
        assert list(machine.keyspace.records) == [b"b"]
        assert machine.expired == 2

    def test_a_stamp_may_repeat_but_never_go_back(self):
        machine = machine_with(a=b"1")
        before = machine.digest()
        with pytest.raises(BrokenInvariant, match="below the last one"):
            machine.apply(NOW - 1, [Put(b"a", b"2")])
        assert machine.digest() == before


class TestDigest:
    def test_the_order_of_insertion_does_not_show(self):
        one_way, other_way = Machine(), Machine()
        one_way.apply(NOW, [SetMany((b"a", b"1", b"b", b"2"))])
        other_way.apply(NOW, [SetMany((b"b", b"2", b"a", b"1"))])
        assert one_way.digest() == other_way.digest()

    @pytest.mark.parametrize(
        "command",
        [
            Put(b"a", b"2"),
            Put(b"a", b"1"),
            Put(b"b", b"1"),
            Delete((b"a",)),
            Expire(b"a", Expiry.RELATIVE, 5),
        ],
    )
    def test_any_change_shows(self, command):
        machine = machine_with(a=b"1")
        before = machine.digest()
        one(machine, command)
        assert machine.digest() != before

    def test_keys_and_values_do_not_run_together(self):
        assert machine_with(ab=b"c").digest() != machine_with(a=b"bc").digest()

    def test_the_stamp_is_part_of_the_state(self):
        machine = machine_with(a=b"1")
        before = machine.digest()
        machine.apply(NOW + 1, [])
        assert machine.digest() != before
