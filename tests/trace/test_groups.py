"""What requests over many groups cost beside the same in one group: the disks, and the nodes together."""

import itertools
from pathlib import Path

import pytest

from kraft.host.slots import SlotMap
from kraft.kv.slots import slot_of
from tests.server.fakes import encode
from tests.trace.instructions import Instructions
from tests.trace.nodes import Nodes

GROUPS = 16
ROUNDS = 6
CLEARED_SECONDS = 0.1  # of virtual time, in which what a request has left to do is done


def pipeline(groups: int) -> bytes:
    """A SET in each group, sixteen in all."""
    slots = SlotMap(groups)
    found: dict[int, bytes] = {}
    for n in itertools.count():
        if len(found) == GROUPS:
            return b"".join(encode("SET", key, "1") for key in found.values())
        key = b"key:%d" % n
        found.setdefault(slots.group_of(slot_of(key)) if groups > 1 else n, key)
    raise AssertionError


@pytest.mark.parametrize("groups", [1, GROUPS])
def test_a_pipeline_is_one_disk_transaction_of_each_leader_and_of_what_each_sends(
    groups: int, tmp_path: Path
) -> None:
    """One after the other, sixteen groups would take sixteen."""
    nodes = Nodes(tmp_path, groups)
    try:
        request = pipeline(groups)
        leaders = {node.host.leader(group) for node in nodes.nodes for group in range(groups)}
        assert nodes.ask(request) == b"+OK\r\n" * GROUPS
        nodes.rest()
        before = [node.disk.commits for node in nodes.nodes]
        assert nodes.ask(request) == b"+OK\r\n" * GROUPS
        nodes.rest()
        spent = [node.disk.commits - count for node, count in zip(nodes.nodes, before, strict=True)]
        assert max(spent) <= len(leaders), (spent, leaders)
    finally:
        nodes.close()


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    nodes = Nodes(Path(tmp_path_factory.mktemp("many")), GROUPS)
    yield nodes
    nodes.close()


def pairs(nodes: Nodes, *, apart: bool) -> list[list[bytes]]:
    """Two keys of one group that the client's node leads, or of two; ROUNDS of them."""
    slots = SlotMap(GROUPS)
    led = [group for group in range(GROUPS) if nodes.leader.host.leader(group) == nodes.leader.host.id]
    keys: dict[int, list[bytes]] = {group: [] for group in range(GROUPS)}
    for n in range(80 * ROUNDS):
        key = b"key:%d" % n
        keys[slots.group_of(slot_of(key))].append(key)
    return [[keys[led[0]][n], keys[led[apart]][ROUNDS + n]] for n in range(ROUNDS)]


def cost(nodes: Nodes, requests: list[bytes]) -> int:
    """The instructions of all nodes for one request and what it leaves to do; the least of some."""
    counts = []
    for request in requests:
        with Instructions() as found:
            assert not nodes.ask(request).startswith(b"-")
            nodes.rest()
        counts.append(found.count)
        nodes.let_pass(CLEARED_SECONDS)
    return min(counts[2:])


def mget(keys: list[bytes]) -> bytes:
    return encode("MGET", *keys)


def get(keys: list[bytes]) -> bytes:
    return encode("GET", keys[0])


# What it is today, and some hundredths for other versions of Python; lower it with every step.
@pytest.mark.parametrize(("over", "beside", "times"), [(mget, get, 1.9)])
def test_two_groups_take_little_more_than_one(many: Nodes, over, beside, times: float) -> None:
    """A second look at each group would take three times a GET."""
    two = cost(many, list(map(over, pairs(many, apart=True))))
    one = cost(many, list(map(beside, pairs(many, apart=False))))
    assert one < two <= times * one, two / one
