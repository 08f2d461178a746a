"""A pipeline over many groups costs the disks as much as one in one group."""

import itertools
from pathlib import Path

import pytest

from kraft.host.slots import SlotMap
from kraft.kv.slots import slot_of
from tests.server.fakes import encode
from tests.trace.nodes import Nodes

GROUPS = 16


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
