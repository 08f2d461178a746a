"""Images that a node opens which lacks some groups: their leaders pin the checkpoints and send the rows."""

import random
from functools import partial
from itertools import islice

import pytest

from kraft.host.backup import lent_checkpoints
from kraft.host.backup.lent_checkpoints import IDLE_SECONDS, LENT_MAX, place
from kraft.host.backup.pinned_images import OPEN_MAX, PinnedImage
from kraft.kv.keyspace import Keyspace
from kraft.node import admin
from kraft.node.errors import AdminRefused
from tests.host.image_machines import machines_of, open_image
from tests.host.late_disk import LateDisk
from tests.host.scattered import Apart
from tests.server.groups import key_in, keys_in

GROUPS = (0, 1, 2)


@pytest.fixture
def cluster():
    return Apart(checkpoint_entries=1 << 30)


def lent(cluster, group):
    host = cluster.host(cluster.leader_of(group))
    return [each for each in host.images.lent._lent.values() if each.wanted.group == group]


def states(cluster):
    """The keys of each group at its leader."""
    found = {}
    for group in GROUPS:
        records = cluster.host(cluster.leader_of(group)).groups[group].state.machine.keyspace.records
        found[group] = {key: record.value for key, record in records.items()}
    return found


@pytest.mark.parametrize("asked", ["K1", "K3", "K5"])
def test_an_image_has_all_groups_wherever_their_replicas_are(cluster, asked):
    client = cluster.connect(asked)
    for group in GROUPS:
        for key in islice(keys_in(group), 100):
            client.run("SET", key, b"of " + key)
    expected = states(cluster)
    image = open_image(cluster, asked)
    assert isinstance(image, PinnedImage), image
    client.run("SET", key_in(1), "later")
    assert [group.group for group in image.head.groups] == list(GROUPS)
    machines = machines_of(cluster, image, asked)
    for group in GROUPS:
        space: Keyspace = machines[group].keyspace
        assert {key: record.value for key, record in space.records.items()} == expected[group]
        assert image.head.groups[group].keys == len(space.records) + len(space.ledger.rows)
    assert cluster.run(5, lambda: not any(lent(cluster, group) for group in GROUPS))


def test_all_groups_are_of_one_moment(cluster):
    """The sum over two groups is that of before or after each transfer."""
    one, two = key_in(1), key_in(2)
    writer = cluster.connect("K1")
    writer.run("MSET", one, "1000", two, "0")
    opened: list[PinnedImage | Exception] = []
    moved = 0
    for _ in range(6):
        opened.clear()
        cluster.host("K5").open_image(opened.append)
        while not opened:
            writer.send("MULTI")
            writer.send("DECRBY", one, "1")
            writer.send("INCRBY", two, "1")
            writer.send("EXEC")
            writer.reply()
            moved += 1
            assert moved < 2000
        [image] = opened
        assert isinstance(image, PinnedImage), image
        machines = machines_of(cluster, image, "K5")
        values = [int(machines[group].keyspace.records[key].value) for group, key in ((1, one), (2, two))]
        assert sum(values) == 1000
    assert moved > 6


def test_a_large_piece_comes_in_parts(cluster, monkeypatch):
    """A message of administrators is small, and a row may be large."""
    monkeypatch.setattr(lent_checkpoints, "PART_BYTES", 1000)
    key, value = key_in(1), random.Random(1).randbytes(5500)
    cluster.connect("K5").run("SET", key, value)
    image = open_image(cluster, "K5")
    asked: list[object] = []
    ask = image.readers[1]._ask

    def noted(group, command, done):
        asked.append(command)
        ask(group, command, done)

    image.readers[1]._ask = noted
    machines = machines_of(cluster, image, "K5")
    assert machines[1].keyspace.records[key].value == value
    assert len([command for command in asked if isinstance(command, admin.ReadCheckpoint)]) == 6


def test_a_leader_that_is_lost_ends_an_image(cluster):
    cluster.connect("K5").run("SET", key_in(1), "v")
    image = open_image(cluster, "K5")
    leader = cluster.leader_of(1)
    other = "K2" if leader == "K1" else "K1"
    done: list[object] = []
    cluster.host("K5").admin(admin.TransferLeadership(other, 1), done.append)
    assert cluster.run(20, lambda: cluster.leaders(1) == [other])
    pieces: list[object] = []
    image.read(1, None, 1 << 16, pieces.append)
    assert cluster.run(40, partial(bool, pieces))
    assert isinstance(pieces[0], AdminRefused)
    again = open_image(cluster, "K5")
    assert isinstance(again, PinnedImage)


def test_a_leader_that_is_lost_before_its_checkpoint_is_pinned_is_followed(cluster):
    leader = cluster.leader_of(1)
    opened: list[PinnedImage | Exception] = []
    cluster.host("K5").open_image(opened.append)
    cluster.run(0.02)
    cluster.nodes[leader].crash()
    cluster.run(2)
    cluster.nodes[leader].start()
    assert cluster.run(60, partial(bool, opened))
    assert isinstance(opened[0], PinnedImage), opened


def test_a_marker_that_a_leader_has_missed_is_followed_by_one_that_it_takes(cluster):
    """It was writing another checkpoint at that moment."""
    leader = cluster.host(cluster.leader_of(1))
    checkpoints = leader.groups[1].checkpoints
    disk = checkpoints._disk
    checkpoints._disk = LateDisk(disk, leader._clock, 2.0)
    leader.admin(admin.TakeSnapshot(), lambda _: None)
    assert cluster.run(5, lambda: checkpoints.busy)
    checkpoints._disk = disk
    image = open_image(cluster, "K5", within=30)
    assert isinstance(image, PinnedImage), image
    cluster.run(1)
    assert not checkpoints.paused


def test_an_image_that_is_read_slowly_stays_open_everywhere(cluster):
    image = open_image(cluster, "K5")
    for _ in range(4):
        cluster.run(IDLE_SECONDS * 0.4)
        assert cluster.host("K5").images.find(image.token) is image
    pieces: list[object] = []
    image.read(2, None, 1 << 16, pieces.append)
    assert cluster.run(5, partial(bool, pieces))
    assert not isinstance(pieces[0], Exception)


def test_what_is_pinned_elsewhere_stays_open_while_a_checkpoint_here_takes_long(cluster):
    cluster.connect("K3").run("SET", key_in(1), "v")
    images = cluster.host("K3").images
    images._disk = LateDisk(images._disk, images._clock, IDLE_SECONDS * 1.5)
    image = open_image(cluster, "K3", within=IDLE_SECONDS * 2)
    assert isinstance(image, PinnedImage), image
    machines = machines_of(cluster, image, "K3")
    assert machines[1].keyspace.records[key_in(1)].value == b"v"


def test_what_a_dead_node_has_pinned_is_closed(cluster):
    assert isinstance(open_image(cluster, "K5"), PinnedImage)
    assert lent(cluster, 1)
    assert lent(cluster, 2)
    cluster.nodes["K5"].crash()
    cluster.run(IDLE_SECONDS + 5)
    assert not lent(cluster, 1)
    assert not lent(cluster, 2)


def test_so_many_images_of_a_group_are_open_at_most(cluster):
    assert LENT_MAX == OPEN_MAX
    for _ in range(OPEN_MAX - 1):
        assert isinstance(open_image(cluster, "K5"), PinnedImage)
    assert isinstance(open_image(cluster, "K3"), PinnedImage)
    refused = open_image(cluster, "K4")
    assert isinstance(refused, AdminRefused)
    assert "images of group 1" in str(refused)


def test_a_marker_that_was_lost_with_its_leader_is_not_waited_for(cluster):
    """In a quiet group its place in the log may stay empty."""
    group = cluster.host(cluster.leader_of(1)).groups[1]
    answers: list[object] = []
    marker = admin.PinCheckpoint(group.raft.state.log.last_index + 3, group.raft.state.term, 7)
    cluster.host("K5")._admin.ask(1, marker, answers.append)
    assert cluster.run(1, lambda: answers == [[]])


def test_an_image_that_has_lost_answers_leaves_nothing_pinned(cluster):
    """It asks anew, also while what it asked for before is being opened or waited for."""
    leader = cluster.host(cluster.leader_of(1))
    assert isinstance(cluster.carried_out("K5", admin.TakeSnapshot()), list)
    cluster.run(5)
    index, term = place(leader.groups[1].checkpoints.last)
    answers: list[object] = []
    ask = cluster.host("K5")._admin.ask
    checkpoints = leader.groups[1].checkpoints
    checkpoints._disk = LateDisk(checkpoints._disk, leader._clock, 5.0)
    leader.admin(admin.TakeSnapshot(), lambda _: None)
    assert cluster.run(2, lambda: checkpoints.busy)
    later = leader.groups[1].state.index  # the checkpoint at that marker is being written
    for marker in (index, later) * LENT_MAX:
        ask(1, admin.PinCheckpoint(marker, term, 7), answers.append)
        cluster.run(0.1)
    ask(1, admin.PinCheckpoint(index, term, 7), answers.append)
    ask(1, admin.PinCheckpoint(index, term, 7), answers.append)
    assert cluster.run(5, lambda: len(answers) == 2 * LENT_MAX + 2)
    assert not any(isinstance(answer, Exception) for answer in answers)
    assert len(lent(cluster, 1)) == 1
