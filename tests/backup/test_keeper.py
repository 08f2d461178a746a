"""What a node does for its backups, with a node that is a state machine and a log."""

from functools import partial

import pytest

from kraft.backup.archive import Archive, image_name
from kraft.backup.errors import BackupError, Stopped
from kraft.backup.keeper import RETRY_SECONDS, BackupKeeper, BackupSettings
from kraft.backup.ports import LogReach
from kraft.backup.shipped_log import LogPosition
from kraft.moment import LATEST, Moment
from kraft.storage.offline.restoration import open_backup, rehearse
from tests.backup.sources import CLUSTER, SECOND_MS, START_MS, FakeSource, Twin, history


class FakeNode:
    """`backup.ports.NodeSource` with `entries`, of which those up to `cut` are gone from the log.

    Group 1 is there once it has entries: `created`, of which `created_cut` are gone.
    """

    def __init__(self, entries):
        self.entries = entries
        self.cut = self.created_cut = 0
        self.created = []
        self.led = True
        self.now_ms = START_MS
        self.broken = ""

    def cluster(self):
        return CLUSTER

    def logs(self, shipped):
        logs = {0: LogReach(self.cut + 1, len(self.entries), self.led)}
        if self.created:
            logs[1] = LogReach(self.created_cut + 1, len(self.created), self.led)
        return logs

    def fetch(self, group, first, last):
        if self.broken:
            raise BackupError(self.broken)
        cut, entries = (self.created_cut, self.created) if group else (self.cut, self.entries)
        return [] if first <= cut else entries[first - 1 : min(last, first + 6)]

    def open_image(self):
        twins = [Twin().apply(each) for each in (self.entries, self.created) if each]
        return FakeSource(*twins, created_ms=self.now_ms)


class Witness:
    def __init__(self):
        self.said = []

    def __getattr__(self, name):
        return lambda *arguments: self.said.append((name, arguments))

    def of(self, name):
        return [arguments for said, arguments in self.said if said == name]


class Bench:
    def __init__(self, directory):
        self.directory = directory
        self.node = FakeNode(history(1, 10))
        self.witness = Witness()
        self.seconds = 0.0
        self.keeper = self.another()

    def another(self, **options):
        options = {"interval": 3600.0, "keep": 2, "ship": True} | options
        settings = BackupSettings(self.directory, None, **options)
        return BackupKeeper(
            settings,
            self.node,
            self.witness,
            pause=lambda: None,
            wall_ms=lambda: self.node.now_ms,
            clock=lambda: self.seconds,
        )

    def advance(self, last, keeper=None):
        """The log goes on up to `last`, and a second passes in each step."""
        self.node.entries = history(1, last)
        self.seconds += 1.0
        self.node.now_ms = max(self.node.now_ms + SECOND_MS, START_MS + last * SECOND_MS)
        (keeper or self.keeper).step()

    def reach(self, moment=LATEST):
        (target,) = rehearse(open_backup(str(self.directory), moment, None))
        return target.index

    @property
    def images(self):
        return [
            manifest.name for _, manifest in Archive.of_cluster(self.directory, CLUSTER, None).good_images()
        ]


@pytest.fixture
def bench(tmp_path):
    found = Bench(tmp_path)
    yield found
    found.keeper.close()


def test_the_first_step_makes_an_image_and_the_next_ones_ship(bench):
    bench.advance(10)
    assert (len(bench.images), bench.reach()) == (1, 10)
    bench.advance(25)
    assert (len(bench.images), bench.reach()) == (1, 25)
    assert bench.reach(Moment(time_ms=START_MS + 17 * SECOND_MS)) == 17
    assert bench.witness.of("failed") == []


def test_an_image_at_every_interval_and_the_oldest_goes(bench):
    for hour in range(4):
        bench.node.now_ms = START_MS + hour * 4_000_000
        bench.advance(10 + 10 * hour)
        bench.advance(15 + 10 * hour)
    assert len(bench.images) == 2
    assert bench.reach() == 45
    assert len(bench.witness.of("image_made")) == 4
    assert len(bench.witness.of("image_made")[-1][2]) == 1


def test_images_are_made_where_the_log_cannot_be_shipped(bench, monkeypatch):
    """As by a node that has no replica of some groups; that is reported again and again."""
    bench.advance(10)
    why = "the log is not shipped: this node has no replica of group 1"
    monkeypatch.setattr(bench.node, "logs", partial(_raise, BackupError(why)))
    for hour in range(1, 4):
        bench.node.now_ms = START_MS + hour * 4_000_000
        bench.seconds += 3600
        bench.advance(10 + 10 * hour)
        assert bench.reach() == 10 + 10 * hour
    assert bench.witness.of("failed") == [(why,)] * 3


def test_a_node_that_stops_while_it_ships_begins_no_image(bench, monkeypatch):
    bench.advance(10)
    monkeypatch.setattr(bench.node, "logs", partial(_raise, Stopped("the node stops")))
    monkeypatch.setattr(bench.node, "open_image", partial(_raise, AssertionError("an image was begun")))
    bench.node.now_ms = START_MS + 4_000_000
    bench.advance(20)
    assert bench.witness.of("failed") == []


def _raise(error, *_):
    raise error


def test_an_image_that_was_given_a_name_stays_and_can_be_restored(bench, monkeypatch):
    """Also when the log after it is gone with the images of its time."""
    monkeypatch.setattr("kraft.backup.shipped_log.SEGMENT_BYTES", 100)
    bench.advance(10)
    bench.advance(15)
    bench.keeper.take("before-upgrade")
    for hour in range(1, 5):
        bench.node.now_ms = START_MS + hour * 4_000_000
        bench.advance(15 + 10 * hour)
    archive = Archive.of_cluster(bench.directory, CLUSTER, None)
    assert len(bench.images) == 3
    assert bench.images[0] == "before-upgrade"
    assert not list(archive.folder.glob("log-0/*16.segment"))
    named = str(archive.folder / "before-upgrade")
    (target,) = rehearse(open_backup(named, LATEST, None))
    assert target.index == 15
    with pytest.raises(BackupError, match="the backup of group 0 reaches to"):
        rehearse(open_backup(named, Moment(time_ms=START_MS + 17 * SECOND_MS), None))
    assert bench.reach() == 55


def test_another_process_goes_on_where_the_first_one_was_killed(bench):
    bench.advance(10)
    bench.advance(20)
    bench.keeper.close()
    other = bench.another()
    bench.advance(40, other)
    bench.advance(41, other)
    assert (len(bench.images), bench.reach()) == (1, 41)
    assert bench.reach(Moment(time_ms=START_MS + 33 * SECOND_MS)) == 33
    other.close()


def test_only_one_process_writes(bench):
    bench.advance(10)
    other = bench.another()
    bench.advance(20, other)
    assert bench.witness.of("waiting")
    assert bench.reach() == 10
    with pytest.raises(BackupError, match="another one has the lock"):
        other.take("mine")
    bench.keeper.close()
    bench.seconds += RETRY_SECONDS
    bench.advance(30, other)
    assert bench.reach() == 30
    other.close()


def test_a_log_that_was_cut_before_it_was_shipped_leads_to_a_new_image(bench):
    """The moments before and after the gap are there, those in it are refused."""
    bench.advance(10)
    bench.advance(20)
    bench.node.cut = 30
    bench.advance(40)
    bench.advance(50)
    assert len(bench.images) == 2
    assert bench.witness.of("gap") == [(0, "the log after 20 was cut before it was shipped")]
    assert bench.reach() == 50
    assert bench.reach(Moment(time_ms=START_MS + 15 * SECOND_MS)) == 15
    with pytest.raises(BackupError, match="reaches to"):
        bench.reach(Moment(time_ms=START_MS + 25 * SECOND_MS))


def test_a_node_that_is_not_as_far_as_the_one_before_it_waits(bench):
    bench.advance(10)
    bench.advance(30)
    bench.keeper.close()
    other = bench.another()
    bench.advance(25, other)
    assert bench.reach() == 30
    bench.advance(35, other)
    assert (bench.reach(), len(bench.images)) == (35, 1)
    other.close()


def test_a_damaged_log_is_left_behind_with_a_new_image(bench):
    bench.advance(10)
    bench.advance(20)
    bench.keeper.close()
    (segment,) = bench.directory.glob("*/log-0/*.segment")
    segment.write_bytes(segment.read_bytes()[:-30])
    other = bench.another()
    bench.advance(30, other)
    bench.advance(40, other)
    assert (len(bench.images), bench.reach()) == (2, 40)
    assert bench.witness.of("gap")
    other.close()


def test_a_failure_is_reported_and_repeated_after_a_while(bench):
    bench.advance(10)
    bench.node.broken = "the disk is on fire"
    bench.advance(20)
    bench.advance(21)
    assert bench.witness.of("failed") == [("the disk is on fire",)]
    bench.node.broken = ""
    bench.seconds += RETRY_SECONDS
    bench.advance(30)
    assert bench.reach() == 30


def test_a_quiet_cluster_says_until_when_it_was_quiet(bench):
    bench.advance(10)
    for _ in range(30):
        bench.advance(10)
    assert bench.reach(Moment(time_ms=START_MS + 25 * SECOND_MS)) == 10


def test_a_clock_that_was_wrong_delays_no_image_and_removes_none(bench):
    """An image from the future is not the newest one for ever."""
    bench.keeper = bench.another(keep=1)
    bench.node.now_ms += 400 * 86_400 * SECOND_MS
    bench.keeper.step()
    assert len(bench.images) == 1
    bench.node.now_ms = START_MS
    bench.advance(20)
    assert len(bench.images) == 1
    assert bench.reach() == 20
    assert Archive.of_cluster(bench.directory, CLUSTER, None).good_images()[0][1].groups[0].index == 20
    bench.advance(21)
    assert bench.images == [image_name(bench.node.now_ms - SECOND_MS)]


def test_an_error_of_the_file_system_is_reported_and_ends_nothing(bench, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(BackupKeeper, "take", _no_space)
        bench.keeper.step()
    assert "No space left" in bench.witness.of("failed")[0][0]
    bench.seconds += 61
    bench.keeper.step()
    assert len(bench.images) == 1


def _no_space(*_):
    raise OSError(28, "No space left on device")


def test_a_node_without_a_leader_does_not_say_that_nothing_was_written(bench):
    bench.advance(10)
    bench.node.led = False
    for _ in range(30):
        bench.advance(10)
    with pytest.raises(BackupError, match="reaches to"):
        bench.reach(Moment(time_ms=START_MS + 30 * SECOND_MS))


def test_without_an_interval_images_are_made_on_demand(bench):
    keeper = bench.another(interval=0.0, ship=False)
    bench.advance(10, keeper)
    assert bench.images == []
    assert keeper.take("mine").name == "mine"
    with pytest.raises(BackupError, match="already"):
        keeper.take("mine")
    with pytest.raises(BackupError, match="no name of an image"):
        keeper.take("../mine")
    assert bench.images == ["mine"]
    keeper.close()


def test_what_a_killed_process_left_is_removed(bench, monkeypatch):
    monkeypatch.setattr("kraft.backup.archive.LEFTOVER_SECONDS", -1)
    left = bench.directory / CLUSTER[:12] / ".image.partial"
    left.mkdir(parents=True)
    bench.advance(10)
    assert not left.exists()


def shipped_of_created(bench):
    """The indexes of the entries of group 1 that are in the backup."""
    archive = Archive.of_cluster(bench.directory, CLUSTER, None)
    return [entry.index for entry in archive.shipped_log(CLUSTER, 1).entries(LogPosition(0, 0, 0))]


def test_the_log_of_a_group_that_is_created_is_shipped_from_its_first_entry_on(bench):
    """No image is needed for that, and a restart of the node changes nothing."""
    bench.advance(20)
    bench.node.created = history(1, 5)
    bench.advance(25)
    assert shipped_of_created(bench) == [1, 2, 3, 4, 5]
    bench.keeper.close()
    bench.node.created = history(1, 9)
    other = bench.another()
    bench.advance(26, other)
    other.close()
    assert shipped_of_created(bench) == list(range(1, 10))
    assert len(bench.witness.of("image_made")) == 1
    assert not bench.witness.of("gap")


def test_a_created_group_whose_log_is_cut_needs_an_image(bench):
    bench.advance(20)
    bench.node.created, bench.node.created_cut = history(1, 5), 2
    bench.advance(25)
    assert len(bench.witness.of("gap")) == 1
    assert len(bench.witness.of("image_made")) == 2
    bench.node.created = history(1, 8)
    bench.advance(26)
    archive = Archive.of_cluster(bench.directory, CLUSTER, None)
    assert [e.index for e in archive.shipped_log(CLUSTER, 1).entries(LogPosition(5, 2, 0))] == [6, 7, 8]
