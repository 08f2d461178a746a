"""Backups of a node that lacks groups: their leaders send the entries, so its directory has all moments."""

from functools import partial
from typing import Any

import msgspec
import pytest

from kraft.backup.errors import BackupError
from kraft.backup.keeper import BackupKeeper, BackupSettings
from kraft.backup.ports import LogReach
from kraft.host.backup import lent_logs
from kraft.host.membership.formation import cluster_id
from kraft.moment import LATEST, Moment
from kraft.node import admin
from kraft.node.errors import AdminRefused, Uncertain
from kraft.process.backup_source import FENCED, HostSource
from kraft.raft.messages import Entry, EntryKind
from kraft.storage.offline.restoration import founders_of, open_backup, restore
from tests.backup.directories import content_of
from tests.backup.test_keeper import Witness
from tests.host.scattered import Apart
from tests.host.test_hibernation import at_rest
from tests.server.groups import key_in

GROUPS = (0, 1, 2)
EARLIER = "K1 leads and does not know this command: update it first"


class SimulatedSource(HostSource):
    """The source of a simulated node, whose answers come while the simulated time passes."""

    def __init__(self, cluster, id_):
        process = cluster.process(id_)
        super().__init__(process.host, process.disk, lambda call, *arguments: call(*arguments))
        self._cluster = cluster

    def ask(self, question):
        answers: list[Any] = []
        question(answers.append)
        assert self._cluster.run(60, partial(bool, answers))
        return answers[0]


class Backup:
    """The backups of one node of a cluster; `step` lets a second pass."""

    def __init__(self, directory, cluster, id_):
        self._directory = directory
        self._cluster = cluster
        self.witness = Witness()
        self.source = SimulatedSource(cluster, id_)
        self.settings = BackupSettings(directory, None, interval=3600.0, keep=7, ship=True)
        self.keeper = self.another()

    def another(self):
        world = self._cluster.world
        return BackupKeeper(
            self.settings,
            self.source,
            self.witness,
            pause=lambda: None,
            wall_ms=self.source._host._clock.wall_ms,
            clock=lambda: world.now,
        )

    def step(self, count=1):
        for _ in range(count):
            self._cluster.run(1)
            self.keeper.step()

    def restored(self, data, moment=LATEST):
        """The keys of what is restored."""
        backup = open_backup(str(self._directory), moment, None)
        founders = founders_of([("K1", "10.1.0.1:10001")], "token", backup.manifest)
        restore(backup, str(data), "K1", founders, cluster_id)
        return content_of(data)


@pytest.fixture
def cluster():
    return Apart(checkpoint_entries=1 << 30)


@pytest.fixture
def backup(tmp_path, cluster):
    made = Backup(tmp_path / "backup", cluster, "K5")
    yield made
    made.keeper.close()


def write(cluster, text):
    client = cluster.connect("K5")
    for group in GROUPS:
        assert client.run("SET", key_in(group), text) == b"+OK\r\n"


def all_groups(text):
    return {key_in(group): text for group in GROUPS}


def test_every_moment_of_all_groups_can_be_restored(cluster, backup, tmp_path):
    write(cluster, "before")
    backup.step(2)
    write(cluster, "first")
    moment = Moment(time_ms=backup.source._host._clock.wall_ms() + 1000)
    backup.step(3)
    write(cluster, "second")
    backup.step(2)
    assert backup.witness.of("failed") == []
    assert len(backup.witness.of("image_made")) == 1
    assert {group for group, _, _ in backup.witness.of("shipped")} == set(GROUPS)
    assert backup.restored(tmp_path / "first", moment) == all_groups(b"first")
    assert backup.restored(tmp_path / "second") == all_groups(b"second")


def test_the_next_leader_sends_the_log(cluster, backup, tmp_path):
    write(cluster, "first")
    backup.step(2)
    leader = cluster.leader_of(1)
    other = "K2" if leader == "K1" else "K1"
    assert cluster.carried_out("K5", admin.TransferLeadership(other, 1)) == other
    write(cluster, "second")
    backup.step(2)
    assert backup.witness.of("failed") == []
    assert backup.restored(tmp_path / "data") == all_groups(b"second")


def test_a_group_without_a_leader_delays_no_other_one(cluster, backup, tmp_path):
    """And when it has one again, nothing is missing."""
    write(cluster, "first")
    backup.step(2)
    for id_ in ("K1", "K2"):
        cluster.nodes[id_].crash()
    assert cluster.run(20, lambda: cluster.leader_of(2))
    cluster.run(5)
    shipped = len(backup.witness.of("shipped"))
    backup.step(2)
    assert {group for group, _, _ in backup.witness.of("shipped")[shipped:]} == {0, 2}
    for id_ in ("K1", "K2"):
        cluster.nodes[id_].start()
    assert cluster.run(20, cluster.led)
    write(cluster, "second")
    backup.step(3)
    assert backup.restored(tmp_path / "data") == all_groups(b"second")
    assert backup.witness.of("gap") == []


def test_a_group_whose_entries_do_not_come_delays_no_other_one(cluster, backup, tmp_path, monkeypatch):
    """Its leader tells how far its log reaches, and is lost then."""
    write(cluster, "first")
    backup.step(2)
    write(cluster, "second")
    first = next(iter(backup.keeper._logs))
    fetch = SimulatedSource.fetch

    def failing(source, group, *arguments):
        if group == first:
            raise BackupError("its leader did not answer")
        return fetch(source, group, *arguments)

    shipped = len(backup.witness.of("shipped"))
    with monkeypatch.context() as patch:
        patch.setattr(SimulatedSource, "fetch", failing)
        backup.step()
    assert {group for group, _, _ in backup.witness.of("shipped")[shipped:]} == {*GROUPS} - {first}
    assert backup.witness.of("failed") == [("its leader did not answer",)]
    cluster.run(60)
    backup.step()
    assert backup.restored(tmp_path / "data") == all_groups(b"second")


def test_an_image_leaves_no_gap_in_the_log_of_a_group_that_was_not_asked_yet(
    cluster, backup, tmp_path, monkeypatch
):
    """Its leader did not answer between the start of the node and the image."""
    write(cluster, "first")
    backup.step(2)
    moment = Moment(time_ms=backup.source._host._clock.wall_ms() + 1000)
    backup.step(2)
    backup.keeper.close()
    write(cluster, "second")
    backup.keeper = backup.another()
    with monkeypatch.context() as patch:
        found = backup.source.logs({})
        patch.setattr(SimulatedSource, "logs", lambda *_: {0: found[0]})
        backup.step(2)
        backup.keeper.take("later")
    backup.step(2)
    assert backup.witness.of("gap") == []
    assert backup.restored(tmp_path / "first", moment) == all_groups(b"first")
    assert backup.restored(tmp_path / "second") == all_groups(b"second")


def test_an_entry_that_is_larger_than_an_answer_comes_in_parts(cluster, backup, tmp_path, monkeypatch):
    """It is read from the disk once, and not kept after its last part."""
    monkeypatch.setattr(lent_logs, "PART_BYTES", 100)
    backup.step(2)
    write(cluster, "v" * 1000)
    logs = cluster.host(cluster.leader_of(1))._image_commands._logs
    fetched = CountedDisk(logs._disk)
    logs._disk = fetched
    backup.step(2)
    assert fetched.count == 1
    assert logs._kept is None
    assert backup.witness.of("failed") == []
    assert backup.restored(tmp_path / "data") == all_groups(b"v" * 1000)


def test_a_log_that_its_leader_has_cut_leads_to_a_new_image(cluster, backup, tmp_path):
    write(cluster, "first")
    backup.step(2)
    write(cluster, "second")
    for group in (1, 2):
        leader = cluster.host(cluster.leader_of(group))
        done: list[object] = []
        leader.admin(admin.TakeSnapshot(), done.append)
        assert cluster.run(20, partial(bool, done))
        assert cluster.carried_out(leader.id, admin.Compact(0))
    backup.step(3)
    assert {group for group, _ in backup.witness.of("gap")} & {1, 2}
    assert len(backup.witness.of("image_made")) == 2
    assert backup.restored(tmp_path / "data") == all_groups(b"second")


def test_a_replica_that_leaves_while_its_log_is_read_is_asked_elsewhere(cluster):
    """And one that has come meanwhile may begin after what is wanted."""
    write(cluster, "first")
    source = SimulatedSource(cluster, cluster.leader_of(1))
    host = source._host
    applied = host.groups[1].state.index
    for id_ in ("K1", "K5"):
        other = SimulatedSource(cluster, id_)
        assert [entry.index for entry in other.fetch(1, applied, applied)] == [applied]
    holder = SimulatedSource(cluster, "K2" if cluster.leader_of(1) == "K1" else "K1")
    emptied: Any = Emptied()
    holder._disk = emptied
    assert [entry.index for entry in holder.fetch(1, applied, applied)] == [applied]


class CountedDisk:
    """Counts what is read of the log, and keeps the last range."""

    def __init__(self, disk):
        self._disk = disk
        self.count = 0
        self.range: tuple[int, int] | None = None

    def fetch(self, group, first, last, max_bytes, done):
        self.count += 1
        self.range = first, last
        self._disk.fetch(group, first, last, max_bytes, done)


def test_a_question_about_logs_without_news_costs_no_ticks(cluster):
    """It comes every second, so it neither wakes groups nor ends the long spans of an idle node."""
    source, hosts = SimulatedSource(cluster, "K5"), [process.host for process in cluster.processes()]

    assert cluster.run(10, lambda: all(map(at_rest, hosts)))
    rested = []
    for _ in range(8):
        assert set(source.logs({})) == set(GROUPS)
        rested.append(all(map(at_rest, hosts)))
        cluster.run(1)
    assert sum(rested) >= 6, "each group has one tick in ten seconds"


def test_logs_that_cannot_be_had_for_a_minute_are_named(cluster, backup):
    """A leader of an earlier version refuses to tell its logs, each second; the others are shipped."""
    backup.step(3)
    ask, host = backup.source._host.logs.ask, backup.source._host
    host.logs.ask = lambda group, command, done: (
        done(AdminRefused(EARLIER)) if group == 1 else ask(group, command, done)
    )
    backup.step(30)
    host.logs.ask = ask
    backup.step(1)
    host.logs.ask = lambda group, command, done: (
        done(AdminRefused(EARLIER)) if group == 1 else ask(group, command, done)
    )
    backup.step(59)
    assert not backup.witness.of("not_shipped")
    backup.step(5)
    assert backup.witness.of("not_shipped") == [({1: EARLIER},)]
    write(cluster, "second")
    backup.step(2)
    shipped = {group: index for group, index, _ in backup.witness.of("shipped")}
    assert shipped[2] == cluster.host(cluster.leader_of(2)).groups[2].state.index
    host.logs.ask = ask
    backup.step(2)
    assert backup.witness.of("not_shipped")[1:] == [({},)]
    assert not backup.witness.of("failed")


def test_a_replica_that_lags_here_is_not_waited_for(cluster, monkeypatch):
    """It may take minutes to catch up by a snapshot. Its leader tells the log meanwhile."""
    [follower] = {"K1", "K2"} - {cluster.leader_of(1)}
    source = SimulatedSource(cluster, follower)
    replica = source._host.groups[1]
    applied = replica.state.index
    told = LogReach(1, applied + 9, led=True)
    source._host.logs.ask = partial(answer_with, [[1, 1, applied + 9]])
    assert reach(source, 1) == LogReach(replica.raft.state.log.base.index + 1, applied, led=True)
    assert reach(source, 1, {1: applied + 1}) == told
    with monkeypatch.context() as receiving:
        receiving.setattr(replica.receiver, "_incoming", object())
        assert reach(source, 1) == told
    replica.state.fenced = True
    assert reach(source, 1) == told
    source._host.logs.ask = partial(answer_with, AdminRefused(EARLIER))
    assert reach(source, 1) == FENCED


def reach(source, group, shipped=None):
    return source.logs(shipped or {})[group]


class Emptied:
    """A disk that has no entry of the log any more."""

    def fetch(self, group, first, last, max_bytes, done):
        done(())


def test_a_leader_that_does_not_know_the_question_is_one_that_does_not_answer(cluster):
    source = SimulatedSource(cluster, "K5")
    host = source._host
    for outcome, reason in ((AdminRefused(EARLIER), EARLIER), ([[1]], None), (Uncertain(), None)):
        host.logs.ask = partial(answer_with, outcome)
        logs = source.logs({})
        assert [id_ for id_, reach in logs.items() if isinstance(reach, LogReach)] == [0]
        assert all(str(logs[group]) == reason or (not reason and "K" in str(logs[group])) for group in (1, 2))
    for outcome in (AdminRefused(EARLIER), [[1]]):
        host.logs.ask = partial(answer_with, outcome)
        with pytest.raises(BackupError, match="update it first"):
            source.fetch(1, 1, 1)


def answered(cluster, leader, group, command):
    """The answer of the leader of a group to another node."""
    done: list[Any] = []
    leader._image_commands.lend(group, command, done.append)
    assert cluster.run(1, partial(bool, done))
    return done[0]


def answer_with(outcome, _group, _command, done):
    done(outcome)


def test_entries_that_are_not_applied_are_not_shipped(cluster):
    """Those of a leader that is about to be deposed may never be committed, whatever another one told."""
    write(cluster, "first")
    leader = cluster.host(cluster.leader_of(1))
    replica = leader.groups[1]
    applied = replica.state.index
    cluster.nodes["K2" if leader.id == "K1" else "K1"].crash()
    cluster.connect("K5").send("SET", key_in(1), "never acknowledged")
    assert cluster.run(5, lambda: replica.raft.state.log.last_index > applied)
    assert replica.raft.state.leads
    with pytest.raises(BackupError, match="the leader of group 1 did not answer"):
        SimulatedSource(cluster, "K5").fetch(1, applied + 1, applied + 1)
    with pytest.raises(BackupError, match="the leader of group 1 did not answer"):
        SimulatedSource(cluster, leader.id).fetch(1, applied + 1, applied + 1)


@pytest.mark.parametrize("last", [1 << 48, (1 << 64) - 1])
def test_no_range_that_a_peer_asks_for_reaches_beyond_the_log(cluster, last):
    """The storage would take the entries of the next group for damage, and end the process."""
    write(cluster, "first")
    leader = cluster.host(cluster.leader_of(1))
    applied = leader.groups[1].state.index
    logs = leader._image_commands._logs
    logs._disk = CountedDisk(logs._disk)
    part, size = answered(cluster, leader, 1, admin.ReadLog(applied, last, 0))
    assert logs._disk.range == (applied, applied)
    assert len(part) == size
    for offset in (-1, size, 1 << 60):
        assert answered(cluster, leader, 1, admin.ReadLog(applied, last, offset))[1] == size


@pytest.mark.parametrize("indexes", [(1, 3), (2, 3), (1, 1)])
def test_a_log_with_a_gap_is_not_shipped(cluster, indexes):
    source = SimulatedSource(cluster, "K5")
    entries = [Entry(index, 1, 1000, EntryKind.COMMANDS, b"") for index in indexes]
    data = msgspec.msgpack.encode(entries)
    source._host.logs.ask = partial(answer_with, [data, len(data)])
    with pytest.raises(BackupError, match="update it first"):
        source.fetch(1, 1, 3)


def test_an_answer_without_end_is_given_up(cluster):
    """The node would collect it until its memory is full."""
    source = SimulatedSource(cluster, "K5")
    asked: list[admin.ReadLog] = []

    def ask(_group, command, done):
        asked.append(command)
        done([bytes(8 << 20), 1 << 60])

    source._host.logs.ask = ask
    with pytest.raises(BackupError, match="update it first"):
        source.fetch(1, 1, 3)
    assert [command.offset >> 20 for command in asked] == [0, 8, 16, 24, 32]


def test_a_leader_tells_only_of_what_it_was_asked(cluster):
    """Once each, and it cannot say anything of the groups of the node that asks."""
    source = SimulatedSource(cluster, "K5")
    applied = reach(source, 0).applied
    source._host.logs.ask = partial(answer_with, [[0, 1, applied + 5], [7, 1, 1], [2, 1, 9]])
    found = {id_: each for id_, each in source.logs({}).items() if isinstance(each, LogReach)}
    assert found.keys() == {0, 2}
    assert found[0].applied == applied
    leader = cluster.host(cluster.leader_of(2))
    found = answered(cluster, leader, 2, admin.FindLogs((2, 2, 99, -1, 2)))
    assert [group for group, *_ in found] == [2]


def test_what_a_leader_tells_is_what_it_has(cluster):
    write(cluster, "first")
    found = SimulatedSource(cluster, "K5").logs({})
    for group in GROUPS:
        replica = cluster.host(cluster.leader_of(group)).groups[group]
        assert found[group] == LogReach(replica.raft.state.log.base.index + 1, replica.state.index, led=True)
