"""An image of one group, whose leader is lost after it has logged the marker: the next one logs another."""

from functools import partial

import pytest

from kraft.host.backup.pinned_images import PinnedImage
from kraft.kv.commands import Put
from kraft.node import admin
from tests.host.trio import Trio

SECONDS = 20  # far less than a checkpoint may take


@pytest.fixture
def trio():
    trio = Trio(checkpoint_entries=100_000)  # so that no other checkpoint comes soon
    trio.ask(trio.leader, Put(b"key", b"1"))
    assert trio.answered()
    return trio


def another_leads(trio, former):
    return any(each != former for each in trio.leaders())


def lose(trio, leader):
    """Cut the leader off until another node leads and has acknowledged a write."""
    trio.isolate(leader)
    assert trio.run(20, partial(another_leads, trio, leader))
    [successor] = [each for each in trio.leaders() if each != leader]
    before = len(trio.answers)
    trio.ask(successor, Put(b"key", b"2"))
    assert trio.answered(before + 1)
    trio.network.heal()


def marker_waits(trio, leader):
    return trio.group(leader).marker_waits


@pytest.mark.parametrize("asked", ["leader", "follower"])
def test_an_image_is_made_although_its_leader_is_lost(trio, asked):
    leader = trio.leader
    opened: list[PinnedImage | Exception] = []
    node = leader if asked == "leader" else trio.followers[0]
    trio.host(node).open_image(opened.append)
    assert trio.run(5, partial(marker_waits, trio, leader))
    lose(trio, leader)
    assert trio.run(SECONDS, partial(bool, opened))
    [image] = opened
    assert isinstance(image, PinnedImage), image
    [group] = image.head.groups
    assert group.term > 1


@pytest.mark.parametrize("command", [admin.TakeSnapshot(), admin.Verify()])
def test_a_checkpoint_is_taken_although_the_leader_is_lost(trio, command):
    leader = trio.leader
    outcomes: list[object] = []
    trio.host(leader).admin(command, outcomes.append)
    assert trio.run(5, partial(marker_waits, trio, leader))
    lose(trio, leader)
    assert trio.run(SECONDS, partial(bool, outcomes))
    assert not isinstance(outcomes[0], Exception)
