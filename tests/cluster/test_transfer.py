"""Leadership moves by an administrator's word, and at the orderly end of a leader, almost unnoticed."""

import statistics
import time

import pytest

from tests.cluster.harness import Server, crowding, wait_until
from tests.cluster.load import Load
from tests.cluster.wire import Refusal

pytestmark = pytest.mark.slow

ELECTION_TIMEOUT = 0.5  # seconds: the default of raft.election_timeout
HANDOVERS = 5


def test_sigterm_of_the_leader_costs_other_clients_less_than_an_election_timeout(cluster):
    """The longest time in which a client of a follower got nothing acknowledged; the median of a few."""
    gaps = []
    for _ in range(HANDOVERS):
        leader = cluster.leader()
        load = Load(cluster.followers(), writers=0)
        load.stay_at(cluster.followers())
        with load:
            load.advance(50)
            begun = time.monotonic()
            leader.terminate()
            ended = time.monotonic()
            load.advance(50)
        gaps.append(load.longest_gap(begun, ended))
        assert set(load.refusals) <= {"UNCERTAIN"}, load.refusals
        leader.start()
        cluster.wait_serving(leader)
    assert statistics.median(gaps) < ELECTION_TIMEOUT * crowding(), gaps


def leads(server: Server) -> bool:
    """By its own word."""
    return bool(server.group().get("role") == "leader")


def wait_in_step(leader: Server) -> None:
    """It has just been elected, and may not know yet who could take over."""

    def in_step() -> bool:
        found = leader.group().get("replicas") or []
        return bool(found) and all(each["state"] == "replicate" for each in found)

    wait_until(in_step, f"the followers of {leader.id} are in step")


def test_transfer_stepdown_and_drain(cluster):
    """Each answers when it is done, and loses no write; a drained node takes nothing until it is let."""
    with Load(list(cluster), writers=3) as load:
        load.advance(50)
        first = cluster.leader()
        second, third = cluster.followers()
        assert third.order("TRANSFER", second.id) == "OK"
        wait_until(lambda: leads(second), f"{second.id} leads")
        assert second.order("TRANSFER", second.id) == "OK"

        wait_in_step(second)
        assert second.order("STEPDOWN") == "OK"
        leader = cluster.leader()
        assert leader is not second

        wait_in_step(leader)
        assert leader.order("DRAIN", "ON") == "OK"
        wait_until(lambda: not leads(leader), f"{leader.id} leads no more")  # /status is shared for a moment
        answer = cluster.order("TRANSFER", leader.id)
        assert isinstance(answer, Refusal)
        assert not leads(leader)
        assert leader.order("DRAIN", "OFF") == "OK"
        wait_until(lambda: cluster.order("TRANSFER", leader.id) == "OK", "it may lead again")
        assert leads(leader)
        load.advance(50)
    assert load.refusals.keys() <= {"UNCERTAIN"}
    for server in (first, second, third):
        load.check(server)


def test_a_transfer_to_a_paused_node_is_given_up(cluster):
    """It is refused with a reason, and the leader serves on; also when the word to take over arrives late."""
    leader = cluster.leader()
    paused, other = cluster.followers()
    paused.pause()
    answer = other.order("TRANSFER", paused.id)
    assert isinstance(answer, Refusal)
    assert answer.prefix == "ERR"
    # The other words are for a leader who was held up itself: by then the node that was asked knows no more.
    given_up = f"{paused.id} did not take over in time; {leader.id} is still the leader"
    assert given_up in answer or "no new leader is known yet" in answer
    wait_until(lambda: leads(leader), f"{leader.id} leads on")
    assert leader.ask("SET", "x", "1") == "OK"
    paused.resume()
    cluster.wait_serving()
    assert paused.ask("GET", "x") == b"1"
