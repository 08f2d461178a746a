"""The machine against a dumb twin: random programs, every reply and the whole state compared."""

from hypothesis import example, given, settings

from kraft.kv.commands import Expire, Expiry, Guard, Put, decode, encode
from kraft.kv.machine import Machine
from tests.kv.programs import programs
from tests.kv.twin import Twin, check_state


@example(  # XX LT with a time at or before the stamp deletes like any other
    [
        (
            0,
            [
                Put(b"", b""),
                Expire(b"", Expiry.RELATIVE, 1),
                Expire(b"", Expiry.RELATIVE, 0, Guard.IF_SOME_AND_EARLIER),
            ],
        )
    ]
)
@settings(deadline=None)
@given(programs)
def test_machine_and_twin_agree(program):
    machine, twin, now = Machine(), Twin(), 0
    for step, batch in program:
        now += step
        replies = machine.apply(now, batch)
        assert [(type(r), r) for r in replies] == [(type(r), r) for r in twin.apply(now, batch)]
        check_state(machine, twin)


@settings(deadline=None)
@given(programs)
def test_a_replica_that_gets_the_bytes_ends_in_the_same_state(program):
    leader, follower, now = Machine(), Machine(), 0
    for step, batch in program:
        now += step
        assert leader.apply(now, batch) == follower.apply(now, decode(encode(batch)))
        assert leader.digest() == follower.digest()
