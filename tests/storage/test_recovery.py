"""A survivor's directory becomes a cluster of its own: what is found, what is written, what is refused."""

from dataclasses import replace

import apsw
import msgspec
import pytest

from kraft.host.membership.formation import cluster_id
from kraft.kv import commands
from kraft.kv.entry import apply_entry
from kraft.kv.errors import BrokenInvariant
from kraft.kv.machine import Machine
from kraft.kv.slot_settlement import SlotSettlement
from kraft.kv.slots import SlotState
from kraft.node.values import Identity, Transaction
from kraft.raft.membership.configuration import Base, Configuration, Joining, Member, decode
from kraft.raft.membership.replica_number import any_replica
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ready import Persist
from kraft.storage.directory import RealDirectory
from kraft.storage.errors import DamagedLog, DamagedState, DirectoryLocked, DirectoryUnusable
from kraft.storage.lock import DirectoryLock
from kraft.storage.offline.recovery import gone_min, open_recovery
from kraft.storage.offline.survivor import RecoveryRefused
from tests.kv.group_states import NOW
from tests.kv.slot_logs import KEYS, OTHER, SLOT, SOURCE, logs_of_a_move
from tests.storage.conftest import INCARNATION
from tests.storage.states import filled, open_states

K1 = Member("K1", INCARNATION, "h1:1")
K2, K3, K4 = (Member(f"K{n}", f"{n}" * 32, f"h{n}:1") for n in (2, 3, 4))
ALL = Configuration.of_voters((K1, K2, K3))
FOUNDED = Identity("K1", INCARNATION, cluster_id(ALL.members), ALL.members)
MARK = "e" * 32
BATCH = commands.encode([commands.Put(b"key", b"value"), commands.Delete((b"other",))])


def configured(index, configuration, *, term=1):
    return Entry(index, term, 1000 + index, EntryKind.CONFIGURATION, configuration.encode())


def batches(first, last, *, term=1):
    return tuple(Entry(i, term, 1000 + i, EntryKind.COMMANDS, BATCH) for i in range(first, last + 1))


def written(*rows, group=0, term=1, vote="", commit=0, identity=FOUNDED, base=None, state=None):
    return Transaction(
        ((group, Persist(0, HardState(term, vote), None, rows, commit, base, state)),), identity
    )


@pytest.fixture
def survivor(tmp_path, database_at):
    """`survivor(rows, ...)`: a closed directory with these entries after the bootstrap configuration."""

    def make(*rows, **options):
        database = database_at(tmp_path)
        assert database.commit([written(configured(1, ALL), *rows, **options)])
        database.close()
        return tmp_path

    return make


def recover(directory):
    with open_recovery(str(directory)) as recovery:
        return recovery.carry_out(cluster_id, MARK)


def contents(directory):
    """Every file but the lock, which holds the id of the last process."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "lock"}


# What is found


def test_the_log_is_described_and_nothing_is_written(survivor):
    directory = survivor(*batches(2, 9, term=3), term=5, commit=7)
    before = contents(directory)

    with open_recovery(str(directory)) as recovery:
        findings = recovery.findings

    assert contents(directory) == before
    assert (findings.identity.id, findings.identity.cluster, findings.member) == ("K1", FOUNDED.cluster, K1)
    (group,) = findings.groups
    assert (group.first_index, group.last_index, group.last_term, group.term) == (1, 9, 3, 5)
    assert group.last_stamp == 1009
    assert (group.committed, group.uncommitted, group.commands) == (7, 2, 4)
    assert (group.checkpoint, group.fenced) == (0, False)
    assert findings.majorities == (("K1", "K2", "K3"),)


def test_entries_that_only_the_write_ahead_log_holds_are_found(tmp_path, database_at):
    """As after a kill."""
    database = database_at(tmp_path)
    assert database.commit([written(configured(1, ALL), *batches(2, 4))])
    database.abandon()
    before = contents(tmp_path)
    assert before["log.db-wal"]

    with open_recovery(str(tmp_path)) as recovery:
        assert recovery.findings.groups[0].last_index == 4

    assert contents(tmp_path) == before


def test_a_checkpoint_proves_that_its_entries_were_committed(survivor, database_at):
    directory = survivor(*batches(2, 9), commit=1)
    database = database_at(directory)
    states = open_states(RealDirectory(str(directory)), database)
    capture = filled(100).capture(6)
    assert states.write(0, capture, database) is not None
    states.close()
    database.close()
    before = contents(directory)

    with open_recovery(str(directory)) as recovery:
        (group,) = recovery.findings.groups
        assert (group.checkpoint, group.committed, group.commands) == (6, 6, 6)
        assert contents(directory) == before
        recovery.carry_out(cluster_id, MARK)

    assert contents(directory)["state-0-1.db"] == before["state-0-1.db"]
    again = open_states(RealDirectory(str(directory)), database_at(directory))
    assert again.loaded.checkpoints[0][0].keys == 100
    again.close()


@pytest.mark.parametrize(("voters", "gone"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (9, 5)])
def test_how_many_must_be_gone(voters, gone):
    names = tuple(f"K{n}" for n in range(voters))
    assert gone_min(names) == gone
    assert voters - gone < voters // 2 + 1 <= voters - gone + 1


# What is written


def test_the_node_becomes_the_only_voter_of_a_new_cluster(survivor, database_at):
    directory = survivor(*batches(2, 9, term=3), term=5, vote="K2", commit=7)

    identity = recover(directory)

    loaded = database_at(directory).loaded
    assert loaded.identity == identity
    assert (identity.id, identity.incarnation) == ("K1", INCARNATION)
    assert identity.members == (Member("K1", MARK, "h1:1"),)
    assert identity.cluster == cluster_id(identity.members) != FOUNDED.cluster
    restored = loaded.groups[0]
    assert restored.hard_state == HardState(6, "")
    assert (restored.last_index, restored.last_stamp, restored.commit) == (10, 1009, 7)
    entry = restored.tail[-1]
    assert (entry.index, entry.term, entry.kind) == (10, 6, EntryKind.CONFIGURATION)
    configuration = decode(entry.data)
    assert configuration == Configuration((K1,), ("K1",), retired=(K2.incarnation, K3.incarnation))
    assert [e.data for e in restored.tail[1:9]] == [BATCH] * 8


def test_a_cluster_that_the_node_founded_alone_gets_a_new_id_as_well(survivor):
    """Its only founder was this node: the hash of that would be the old id."""
    alone = Configuration.of_voters((K1,))
    founded = Identity("K1", INCARNATION, cluster_id((K1,)), (K1,))
    directory = survivor(configured(2, ALL), identity=founded, commit=2)
    first = recover(directory)
    assert first.cluster != founded.cluster
    assert cluster_id(alone.members) == founded.cluster


def test_a_change_under_way_is_overridden(survivor, database_at):
    """Joint, uncommitted, with a new incarnation of a member and one on its way to a vote."""
    fresh = Member("K2", "f" * 32, "h2:1")
    target = Configuration.of_voters((K1, fresh))
    learning = Configuration(
        (K1, K2, K3, K4), ("K1", "K2", "K3"), ("K4",), (Joining("K4", "K2"),), ("9" * 32,)
    )
    target = Configuration(target.members, target.voters, retired=(K2.incarnation, "8" * 32, "9" * 32))
    joint = msgspec.structs.replace(learning, target=target)
    assert joint.fault() is None
    directory = survivor(configured(2, learning), configured(3, joint), commit=2)
    with open_recovery(str(directory)) as recovery:
        assert recovery.findings.majorities == (("K1", "K2", "K3"), ("K1", "K2"))

    recover(directory)

    _, configuration = database_at(directory).loaded.groups[0].configurations[-1]
    gone = {K2.incarnation, K3.incarnation, K4.incarnation, fresh.incarnation, "8" * 32, "9" * 32}
    assert configuration == Configuration((K1,), ("K1",), retired=tuple(sorted(gone)))


def test_the_address_in_force_counts_not_the_founders(survivor, database_at):
    moved = Member("K1", INCARNATION, "elsewhere:9")
    directory = survivor(configured(2, Configuration.of_voters((moved, K2, K3))), commit=2)
    identity = recover(directory)
    assert identity.members[0].peer == "elsewhere:9"
    _, configuration = database_at(directory).loaded.groups[0].configurations[-1]
    assert configuration.members == (moved,)


def test_every_group_of_the_directory_is_recovered(tmp_path, database_at):
    database = database_at(tmp_path)
    assert database.commit(
        [
            written(configured(1, ALL), *batches(2, 3), term=2),
            written(configured(1, ALL), *batches(2, 8, term=4), group=2, term=4),
        ]
    )
    database.close()

    recover(tmp_path)

    groups = database_at(tmp_path).loaded.groups
    assert {g: (r.hard_state.term, r.last_index) for g, r in groups.items()} == {0: (3, 4), 2: (5, 9)}
    assert all(r.configurations[-1][1].electors == ("K1",) for r in groups.values())


def grown(path, database_at, lengths, configuration=ALL):
    """A directory of three groups, one of them created, whose logs end after so many steps of a move."""
    logs = logs_of_a_move(OTHER)
    writes = []
    for group, length in enumerate(lengths):
        steps = logs.logs[group][:length]
        rows = [Entry(1, 1, 0, EntryKind.CONFIGURATION, configuration.encode())]
        for index, step in enumerate(steps, 2):
            rows.append(Entry(index, 1, NOW, EntryKind.COMMANDS, commands.encode([step])))
        writes.append((group, Persist(0, HardState(1), None, tuple(rows), len(rows))))
    identity = replace(FOUNDED, groups=2, created=1)
    database = database_at(path)
    assert database.commit([Transaction(tuple(writes), identity)])
    database.close()


def lengths_without_owner():
    """The source has let go of the slot, and the receiver has not got so far."""
    logs = logs_of_a_move(OTHER).logs
    lengths = [len(log) for log in logs]
    lengths[SOURCE] = next(n for n, step in enumerate(logs[SOURCE]) if type(step) is commands.Sweep)
    lengths[OTHER] = next(n for n, step in enumerate(logs[OTHER]) if type(step) is commands.Activate)
    return lengths


def applied(directory, database_at):
    """The state of each group, with all that its log has."""
    machines = {}
    for group, restored in database_at(directory).loaded.groups.items():
        machines[group] = machine = Machine()
        for entry in restored.tail:
            apply_entry(machine, entry, group)
    return machines


def test_slots_that_no_group_has_in_the_logs_of_the_survivor_get_an_owner(tmp_path, database_at):
    grown(tmp_path, database_at, lengths_without_owner())
    with open_recovery(str(tmp_path)) as recovery:
        [found] = recovery.findings.settled
        recovery.carry_out(cluster_id, MARK)
    assert (found.first, found.last, found.group, found.keys, found.had) == (SLOT, SLOT, OTHER, 5, ())
    machines = applied(tmp_path, database_at)
    receiver = machines[OTHER].keyspace
    assert receiver.slots.owns(KEYS[0])
    assert {key: receiver.get(key) for key in KEYS} == {
        **{key: b"v" + key for key in KEYS}, KEYS[0]: b"last"
    }  # fmt: skip
    assert machines[SOURCE].keyspace.slots.state(KEYS[0]) == SlotState.GONE
    assert machines[2].keyspace.slots is None


def test_when_each_slot_has_an_owner_there_is_nothing_to_recover(tmp_path, database_at):
    grown(tmp_path, database_at, lengths_without_owner())
    recover(tmp_path)
    assert refusal(tmp_path).endswith("there is nothing to recover, start it")


def test_a_cluster_that_was_recovered_without_them_is_recovered_again(tmp_path, database_at):
    """An earlier kraft left slots without an owner. The only voter has all there is."""
    alone = Configuration.of_voters((K1,))
    grown(tmp_path, database_at, lengths_without_owner(), alone)
    recover(tmp_path)
    assert applied(tmp_path, database_at)[OTHER].keyspace.slots.owns(KEYS[0])


def test_slots_that_cannot_be_settled_are_told_and_the_rest_is_recovered(tmp_path, database_at, monkeypatch):
    def broken(*_):
        raise BrokenInvariant("told so")

    grown(tmp_path, database_at, lengths_without_owner())
    monkeypatch.setattr(SlotSettlement, "settle", broken)
    with open_recovery(str(tmp_path)) as recovery:
        assert recovery.findings.unsettled == "told so"
        recovery.carry_out(cluster_id, MARK)
    assert not applied(tmp_path, database_at)[OTHER].keyspace.slots.owns(KEYS[0])


def test_the_refusal_of_an_only_voter_tells_of_slots_that_cannot_be_settled(
    tmp_path, database_at, monkeypatch
):
    def broken(*_):
        raise BrokenInvariant("told so")

    grown(tmp_path, database_at, lengths_without_owner(), Configuration.of_voters((K1,)))
    monkeypatch.setattr(SlotSettlement, "settle", broken)
    assert "cannot be mended: told so" in refusal(tmp_path)


def test_a_log_that_is_cut_at_a_base_goes_on(survivor, database_at):
    directory = survivor(*batches(2, 9))
    database = database_at(directory)
    states = open_states(RealDirectory(str(directory)), database)
    assert states.write(0, filled(10).capture(9), database) is not None
    states.close()
    at = Base(9, 1, 1009, 1, ALL)
    assert database.commit([Transaction(((0, Persist(0, None, None, (), 9, at)),))])
    database.close()

    with open_recovery(str(directory)) as recovery:
        (group,) = recovery.findings.groups
        assert (group.first_index, group.last_index, group.last_term, group.committed) == (10, 9, 1, 9)
        recovery.carry_out(cluster_id, MARK)

    restored = database_at(directory).loaded.groups[0]
    assert (restored.first_index, restored.last_index) == (10, 10)
    assert restored.configurations[-1][1].electors == ("K1",)


def test_a_fenced_state_counts_from_now_on(survivor, database_at):
    """No replica is left to copy the state from, and a fenced replica would not lead."""
    directory = survivor(*batches(2, 9))
    database = database_at(directory)
    states = open_states(RealDirectory(str(directory)), database)
    assert states.write(0, filled(10).capture(8), database) is not None
    states.close()
    assert database.fence(0, True)
    database.close()

    with open_recovery(str(directory)) as recovery:
        assert recovery.findings.groups[0].fenced
        recovery.carry_out(cluster_id, MARK)

    database = database_at(directory)
    assert database.loaded.fenced == frozenset()
    assert database.replica(0).state == 1


def test_a_recovery_cut_short_by_a_full_disk_changes_nothing(survivor, database_at, monkeypatch):
    directory = survivor(*batches(2, 4))
    with open_recovery(str(directory)) as recovery:
        monkeypatch.setattr("kraft.storage.offline.recovery.LogDatabase.commit", lambda *_: False)
        with pytest.raises(Exception, match="the disk is full"):
            recovery.carry_out(cluster_id, MARK)
    assert database_at(directory).loaded.identity.cluster == FOUNDED.cluster


# What is refused


def refusal(directory):
    with pytest.raises(RecoveryRefused) as refused:
        open_recovery(str(directory))
    DirectoryLock(str(directory)).release()  # it was let go
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_directory_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(DirectoryUnusable, match="there is no such directory"):
        open_recovery(str(tmp_path / "K1"))
    assert not (tmp_path / "K1").exists()


def test_a_directory_without_a_log(tmp_path):
    assert "log.db is missing" in refusal(tmp_path)


def test_a_directory_in_use(survivor):
    directory = survivor()
    lock = DirectoryLock(str(directory))
    with pytest.raises(DirectoryLocked, match="in use by process"):
        open_recovery(str(directory))
    lock.release()


def test_a_node_that_never_was_in_a_cluster(tmp_path, database_at):
    database_at(tmp_path).close()
    assert "K1 was never in a cluster" in refusal(tmp_path)


def test_a_new_member_without_any_data(tmp_path, database_at):
    database = database_at(tmp_path)
    assert database.commit([Transaction(((0, Persist(0, HardState(), None, (), 0)),), FOUNDED)])
    database.close()
    assert "has received none of its data yet" in refusal(tmp_path)


def test_a_new_member_whose_log_ends_before_it_became_one(tmp_path, database_at):
    before = Configuration.of_voters((K2, K3))
    database = database_at(tmp_path)
    assert database.commit([written(configured(1, before), *batches(2, 4))])
    database.close()
    assert "K1 had not caught up to where it became a member" in refusal(tmp_path)


def test_an_id_that_came_back_counts_by_its_incarnation(tmp_path, database_at):
    """The log, as far as it goes, has the directory that this one replaced."""
    before = Configuration.of_voters((Member("K1", "a" * 32, "h1:1"), K2, K3))
    database = database_at(tmp_path)
    assert database.commit([written(configured(1, before))])
    database.close()
    assert "had not caught up" in refusal(tmp_path)


def test_the_only_voter(survivor):
    directory = survivor(configured(2, Configuration((K1, K2), ("K1",), ("K2",))))
    assert "the only voter of its cluster already" in refusal(directory)


def test_a_recovery_is_not_repeated(survivor):
    directory = survivor()
    recover(directory)
    assert "nothing to recover, start it" in refusal(directory)


def test_a_removed_node(survivor):
    removed = Configuration((K2, K3), ("K2", "K3"), retired=(INCARNATION,))
    assert "K1 was removed from its cluster" in refusal(survivor(configured(2, removed)))


def test_a_node_that_left_a_group_and_came_back_to_it_is_a_member(survivor, database_at):
    replica = Member("K1", f"{INCARNATION}#1.2", "h1:1")
    returned = Configuration((replica, K2, K3), ("K1", "K2", "K3"), retired=(any_replica(INCARNATION),))
    directory = survivor(configured(2, returned), commit=2)
    recover(directory)
    entry = database_at(directory).loaded.groups[0].tail[-1]
    configuration = decode(entry.data)
    assert configuration.members == (replica,)
    assert set(configuration.retired) == {any_replica(INCARNATION), K2.incarnation, K3.incarnation}


def test_commands_of_a_newer_version(survivor):
    newer = Entry(2, 1, 1002, EntryKind.COMMANDS, b"\xff" + BATCH[1:])
    assert "use the newer kraft" in refusal(survivor(newer))


def test_a_log_of_an_older_version(survivor):
    directory = survivor()
    connection = apsw.Connection(str(directory / "log.db"))
    connection.execute("PRAGMA user_version=1")
    connection.close()
    assert "start the node with this version" in refusal(directory)


def test_a_damaged_log(survivor):
    directory = survivor(*batches(2, 9))
    connection = apsw.Connection(str(directory / "log.db"))
    connection.execute("UPDATE entry SET data = X'00' WHERE position = 5")
    connection.close()
    before = contents(directory)
    with pytest.raises(DamagedLog, match="the checksum of entry 5 does not match"):
        open_recovery(str(directory))
    assert contents(directory) == before


def test_a_log_that_lost_its_end(survivor):
    directory = survivor(*batches(2, 9))
    connection = apsw.Connection(str(directory / "log.db"))
    connection.execute("DELETE FROM entry WHERE position = 9")
    connection.close()
    with pytest.raises(DamagedLog, match="but index 9 of term 1 was stored"):
        open_recovery(str(directory))


def test_a_state_file_that_is_missing_before_a_cut_log(survivor, database_at):
    directory = survivor(*batches(2, 9))
    database = database_at(directory)
    states = open_states(RealDirectory(str(directory)), database)
    assert states.write(0, filled(10).capture(9), database) is not None
    states.close()
    assert database.commit([Transaction(((0, Persist(0, None, None, (), 9, Base(9, 1, 1009, 1, ALL))),))])
    database.close()
    (directory / "state-0-1.db").unlink()
    with pytest.raises(DamagedState, match="it is missing"):
        open_recovery(str(directory))


def test_a_damaged_state_file_of_a_whole_log_is_left_for_the_start_to_replace(survivor, database_at):
    directory = survivor(*batches(2, 9))
    database = database_at(directory)
    states = open_states(RealDirectory(str(directory)), database)
    assert states.write(0, filled(10).capture(9), database) is not None
    states.close()
    database.close()
    (directory / "state-0-1.db").write_bytes(b"nothing of the kind" * 1000)
    with open_recovery(str(directory)) as recovery:
        assert recovery.findings.groups[0].checkpoint == 0
    assert (directory / "state-0-1.db").exists()
