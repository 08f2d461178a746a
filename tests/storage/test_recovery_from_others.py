"""A recovery from several directories: of each group the most advanced log counts, wherever it is."""

from pathlib import Path
from typing import Any

import pytest

from kraft.cli.main import main
from kraft.host.membership.formation import cluster_id
from kraft.kv import commands
from kraft.kv.versions import MACHINE_VERSION, encode_version
from kraft.node.values import Identity, LastReplica, Transaction
from kraft.raft.membership.configuration import Base, Configuration, Member
from kraft.raft.membership.replica_number import NEVER, UNNUMBERED, ReplicaNumber, any_replica
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ready import Persist
from kraft.storage.damage import remember_damage
from kraft.storage.directory import RealDirectory
from kraft.storage.errors import DirectoryLocked, NoSpace
from kraft.storage.log.database import LogDatabase
from kraft.storage.offline.group_findings import last_entry
from kraft.storage.offline.recovery import open_recovery
from kraft.storage.offline.survivor import RecoveryRefused, Survivor
from kraft.storage.state.folder import StateFolder
from tests.backup.directories import opened
from tests.kv.group_states import NOW
from tests.kv.slot_logs import KEYS, OTHER, SLOT, SOURCE, logs_of_a_move
from tests.server.groups import key_in
from tests.storage.states import SETTINGS

GROUPS = 3
MARK = "e" * 32
K1, K2, K3 = (Member(f"K{n}", f"{n}" * 32, f"h{n}:1") for n in (1, 2, 3))
ALL = Configuration.of_voters((K1, K2, K3))
CLUSTER = cluster_id(ALL.members, GROUPS)


def without(*members, retired=()):
    """The configuration of a group of which these are the members; replicas of the others have left."""
    left = [any_replica(each.node) for each in (K1, K2, K3) if each not in members]
    voters = Configuration.of_voters(members)
    return Configuration(voters.members, voters.voters, retired=tuple(sorted({*left, *retired})))


def log(group, configuration, values, *, term=1):
    """The write of a log: a configuration, then one value after the other of a key of the group."""
    rows = [Entry(1, term, 1000, EntryKind.CONFIGURATION, configuration.encode())]
    for index, value in enumerate(values, 2):
        data = commands.encode([commands.Put(key_in(group), value)])
        rows.append(Entry(index, term, 1000 + index, EntryKind.COMMANDS, data))
    return group, Persist(0, HardState(term), None, tuple(rows), commit=1)


def database_of(path, member):
    path.mkdir(exist_ok=True)
    return LogDatabase(
        RealDirectory(str(path)),
        node_id=member.id,
        incarnation=lambda: member.node,
        settings=SETTINGS,
    )


def written(path, member, *logs, left=(), groups=GROUPS, cluster=CLUSTER, created=0):
    """The directory of a node with these logs, which has no replica of the groups `left`."""
    identity = Identity(member.id, member.node, cluster, ALL.members, groups, created)
    replicas = [(group, LastReplica(number, held=False)) for group, number in dict(left).items()]
    database = database_of(path, member)
    assert database.commit([Transaction(logs, identity, tuple(replicas))])
    database.close()
    return path


def contents(directory):
    """Every file but the lock, which holds the id of the last process."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "lock"}


@pytest.fixture
def first(tmp_path):
    """K1 has the groups 0 and 1; it has left group 2, where its replica had a number."""
    logs = log(0, ALL, [b"a", b"b"]), log(1, without(K1, K2), [b"old"])
    return written(tmp_path / "K1", K1, *logs, left={2: ReplicaNumber(4, 7)})


@pytest.fixture
def second(tmp_path):
    """K2 has the groups 0 and 2, and never had group 1."""
    logs = log(0, ALL, [b"a"]), log(2, without(K2, K3), [b"x", b"y"], term=3)
    return written(tmp_path / "K2", K2, *logs, left={1: NEVER})


def recover(directory: Path, *others: Path):
    with open_recovery(str(directory), others=[str(each) for each in others]) as recovery:
        return recovery.findings, recovery.carry_out(cluster_id, MARK)


def found_in(directory):
    """What a node would start with: the values of the keys, the configuration of each group, the replicas."""
    loaded = opened(directory)
    values: dict[int, bytes | None] = {}
    for group, (_, keyspace) in loaded.checkpoints.items():
        values |= {group: keyspace.get(key_in(group))}
    for group, restored in loaded.groups.items():
        for entry in restored.tail:
            if entry.kind == EntryKind.COMMANDS:
                put: Any = commands.decode(entry.data)[0]
                values[group] = put.value
    configurations = {
        group: (restored.configurations[-1][1] if restored.configurations else restored.base.configuration)
        for group, restored in loaded.groups.items()
    }
    return values, configurations, loaded


def test_a_group_that_the_node_lacks_comes_from_another_directory(first, second):
    before = contents(second)
    findings, identity = recover(first, second)
    assert [(group.node, group.last_index) for group in findings.groups] == [("K1", 3), ("K1", 2), ("K2", 3)]
    assert contents(second) == before
    values, configurations, loaded = found_in(first)
    assert values == {0: b"b", 1: b"old", 2: b"y"}
    assert loaded.identity == identity
    assert identity.cluster != CLUSTER
    number = loaded.replicas[2].number
    assert loaded.replicas[2].held
    assert number > ReplicaNumber(4, 7)
    for group, configuration in configurations.items():
        [member] = configuration.members
        assert (member.id, member.node, configuration.voters) == ("K1", K1.node, ("K1",))
        assert member.number == (number if group == 2 else UNNUMBERED)
        assert configuration.fault() is None
        assert {K2.node, K3.node} <= set(configuration.retired) | ({K3.node} if group == 1 else set())
    restored = loaded.groups[2]
    assert restored.hard_state.term == restored.base.term > 4
    assert restored.last_index == restored.commit == restored.base.index == 4
    assert configurations[2].numbers_fault(restored.base.index, restored.base.term) is None


def test_a_dry_run_changes_nothing(first, second):
    before = contents(first), contents(second)
    open_recovery(str(first), others=[str(second)]).close()
    assert (contents(first), contents(second)) == before


def cut(directory, member, group, *, fenced=False):
    """Let a log begin after a checkpoint at its end."""
    survivor = Survivor(str(directory), SETTINGS)
    [machine] = survivor.machines(survivor.read_states([group], None)).values()
    survivor.close()
    restored = survivor.loaded.groups[group]
    term, configuration = last_entry(survivor, group)[0], restored.configurations[-1][1]
    base = Base(restored.last_index, term, restored.last_stamp, 1, configuration)
    folder = StateFolder(survivor.files, SETTINGS, vfs="", shared=True, read_only=False)
    folder.write(group, 1, machine.whole(base))
    database = database_of(directory, member)
    assert database.commit([Transaction(((group, Persist(0, None, None, (), base.index, base, 1)),))])
    assert database.fence(group, fenced)
    database.close()


def test_what_is_in_a_state_file_and_not_in_the_log_comes_as_well(first, second):
    cut(second, K2, 2)
    recover(first, second)
    assert found_in(first)[0][2] == b"y"


@pytest.mark.parametrize(
    ("term", "values", "wins"), [(1, [b"1", b"2", b"3"], True), (2, [b"1"], True), (1, [b"1"], False)]
)
def test_the_log_with_the_higher_term_counts_then_the_longer_one(tmp_path, second, term, values, wins):
    """A replica of the node itself with a less advanced log is replaced, and keeps its number."""
    own = log(0, ALL, [b"own", b"own"]), log(1, ALL, [b"own", b"own"]), log(2, ALL, [b"own", b"own"], term=4)
    first = written(tmp_path / "K1", K1, *own)
    other = log(0, ALL, values, term=term), log(1, ALL, values, term=term), log(2, ALL, [b"x"], term=3)
    third = written(tmp_path / "K3", K3, *other)
    recover(first, third)
    values_found, configurations, loaded = found_in(first)
    newest = values[-1] if wins else b"own"
    assert values_found == {0: newest, 1: newest, 2: b"own"}
    assert all(each.members == (K1,) for each in configurations.values())
    assert not loaded.replicas
    assert {group: restored.base.index > 0 for group, restored in loaded.groups.items()} == {
        0: wins, 1: wins, 2: False
    }  # fmt: skip


def test_a_replica_that_its_group_has_let_go_of_is_a_new_one(tmp_path):
    """The node has not heard of it: its own log ends before, and begins after a checkpoint."""
    own = [log(group, ALL, [b"old"]) for group in range(GROUPS)]
    first = written(tmp_path / "K1", K1, *own)
    cut(first, K1, 2)
    later = log(0, ALL, [b"a"]), log(1, ALL, [b"a"]), log(2, without(K2, K3), [b"x", b"y"], term=3)
    second = written(tmp_path / "K2", K2, *later)
    recover(first, second)
    values, configurations, loaded = found_in(first)
    assert values[2] == b"y"
    [member] = configurations[2].members
    assert loaded.replicas[2] == LastReplica(member.number, held=True)
    assert member.number > UNNUMBERED
    assert loaded.groups[2].base.index == 4
    assert sorted(path.name for path in first.glob("state-2-*.db")) == ["state-2-2.db"]


def test_a_replica_that_is_known_to_differ_counts_only_where_there_is_no_other(tmp_path):
    first = written(tmp_path / "K1", K1, *(log(group, ALL, [b"a", b"b"]) for group in range(GROUPS)))
    second = written(tmp_path / "K2", K2, log(0, ALL, [b"x"]), log(1, ALL, [b"x"]), left={2: NEVER})
    for group in (1, 2):
        cut(first, K1, group, fenced=True)
    findings, _ = recover(first, second)
    assert [group.node for group in findings.groups] == ["K1", "K2", "K1"]
    left_out = [(group.left_out, group.left_out_last) for group in findings.groups]
    assert left_out == [("", (0, 0)), (str(first), (1, 3)), ("", (0, 0))]
    values, _, loaded = found_in(first)
    assert (values[1], loaded.fenced) == (b"x", frozenset())


def test_a_more_advanced_log_that_is_left_out_is_told(tmp_path, capsys):
    first = written(tmp_path / "K1", K1, *(log(group, ALL, [b"a", b"b"]) for group in range(GROUPS)))
    second = written(tmp_path / "K2", K2, *(log(group, ALL, [b"x"]) for group in range(GROUPS)))
    cut(first, K1, 1, fenced=True)
    assert main(["recover", str(first), "--from", str(second)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"group 1, from {second} of K2 last entry index 2 of term 1" in text
    assert f"WARNING the log in {first} ends later, with index 3 of term 1, and is left out" in text
    assert text.count("left out") == 1


def steps_of_a_move(group, log):
    """The write of a log with these steps."""
    rows = [Entry(1, 1, 0, EntryKind.CONFIGURATION, ALL.encode())]
    rows.append(Entry(2, 1, NOW, EntryKind.VERSION, encode_version(MACHINE_VERSION)))
    rows += [
        Entry(index, 1, NOW, EntryKind.COMMANDS, commands.encode([step])) for index, step in enumerate(log, 3)
    ]
    return group, Persist(0, HardState(1), None, tuple(rows), len(rows))


@pytest.mark.parametrize("taken", [SOURCE, OTHER])
def test_slots_without_an_owner_are_settled_over_the_directories(tmp_path, taken):
    """The source has let go of the slot, and the receiver has not got so far."""
    logs = logs_of_a_move(OTHER).logs
    del logs[SOURCE][next(n for n, step in enumerate(logs[SOURCE]) if type(step) is commands.Sweep) :]
    del logs[OTHER][next(n for n, step in enumerate(logs[OTHER]) if type(step) is commands.Activate) :]
    writes = [steps_of_a_move(group, each) for group, each in enumerate(logs)]
    cluster = cluster_id(ALL.members, 2)
    grown: dict[str, Any] = {"groups": 2, "created": 1, "cluster": cluster}
    own = list(writes)
    own[taken] = steps_of_a_move(taken, [])  # without the last entries
    first = written(tmp_path / "K1", K1, *own, **grown)
    second = written(tmp_path / "K2", K2, *writes, **grown)
    with open_recovery(str(first), others=[str(second)]) as recovery:
        steps = len(recovery._steps[taken])
    findings, _ = recover(first, second)
    assert [group.node for group in findings.groups if group.group == taken] == ["K2"]
    place = findings.groups[taken].last_index + 1 + steps
    assert opened(first).groups[taken].base.index == place
    [settled] = findings.settled
    assert (settled.first, settled.group, settled.keys) == (SLOT, OTHER, 5)
    survivor = Survivor(str(first), SETTINGS)
    machines = survivor.machines(survivor.read_states(range(3), None))
    survivor.close()
    receiver = machines[OTHER].keyspace
    assert receiver.slots is not None
    assert receiver.slots.owns(KEYS[0])
    assert [receiver.get(key) for key in KEYS] == [b"last", *(b"v" + key for key in KEYS[1:])]
    source = machines[SOURCE].keyspace.slots
    assert source is not None
    assert not source.owns(KEYS[0])


def test_a_group_that_only_the_other_node_has_created(tmp_path):
    own = log(0, ALL, [b"a"]), log(1, ALL, [b"a"])
    first = written(tmp_path / "K1", K1, *own, groups=2)
    second = written(tmp_path / "K2", K2, *own, log(2, without(K2), [b"new"]), groups=2, created=1)
    _, identity = recover(first, second)
    assert (identity.groups, identity.created) == (2, 1)
    assert found_in(first)[0][2] == b"new"


def test_an_interrupted_recovery_changes_nothing_and_can_be_repeated(first, second, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(LogDatabase, "commit", lambda *_: False)
        with pytest.raises(NoSpace):
            recover(first, second)
    assert (first / "state-2-1.db").exists()
    assert opened(first).identity.cluster == CLUSTER  # a start removes what the log does not name
    assert not (first / "state-2-1.db").exists()
    recover(first, second)
    assert found_in(first)[0][2] == b"y"


def test_a_full_disk_changes_nothing(first, second, monkeypatch):
    def full(*_):
        raise NoSpace("full")

    monkeypatch.setattr(StateFolder, "write", full)
    with pytest.raises(NoSpace):
        recover(first, second)
    monkeypatch.undo()
    assert opened(first).identity.cluster == CLUSTER


# What is refused


def refusal(directory, *others):
    with pytest.raises(RecoveryRefused) as refused:
        open_recovery(str(directory), others=[str(each) for each in others])
    for each in (directory, *others):
        Survivor(str(each), SETTINGS).close()  # its lock was let go
    return str(refused.value)


def test_a_group_that_no_directory_has(first, tmp_path):
    assert "there is no replica of group 2 here: name with --from" in refusal(first)
    third = written(tmp_path / "K3", K3, log(0, ALL, [b"a"]), left={1: NEVER, 2: NEVER})
    assert "there is no replica of group 2 here" in refusal(first, third)


def test_another_cluster(first, tmp_path):
    logs = [log(group, ALL, [b"a"]) for group in range(GROUPS)]
    third = written(tmp_path / "K3", K3, *logs, cluster="f" * 32)
    assert refusal(first, third) == f"{third}: K3 is of another cluster"


def test_a_node_that_is_no_member_of_group_0(first, second):
    """Its own log of group 0 says that it is one, and a later one does not."""
    with_later = written(
        second.parent / "K3", K3, log(0, without(K2, K3), [b"a"], term=9), left={1: NEVER, 2: NEVER}
    )
    assert "had not caught up to where it became a member of group 0" in refusal(first, second, with_later)


def test_a_directory_that_is_named_twice(first, second, tmp_path):
    """By another name, too: the lock would tell of a process that uses it."""
    again = tmp_path / "again"
    again.symlink_to(second)
    for directory, others in ((first, [first]), (first, [second, again])):
        with pytest.raises(RecoveryRefused, match=r"is the directory .*: name each directory once"):
            open_recovery(str(directory), others=[str(each) for each in others])
    open_recovery(str(first), others=[str(second)]).close()


def test_a_directory_that_a_process_uses(first, second):
    used = Survivor(str(second), SETTINGS)
    with pytest.raises(DirectoryLocked):
        open_recovery(str(first), others=[str(second)])
    used.close()


def test_a_node_that_was_never_in_a_cluster(first, second, tmp_path):
    third = written(tmp_path / "K3", K3, cluster="", groups=1)
    assert refusal(first, second, third) == f"{third}: K3 is in no cluster"


def test_a_group_of_which_only_another_directory_knows(tmp_path):
    """The node has data: it is another group that is missing, which was created later."""
    own = log(0, ALL, [b"a"]), log(1, ALL, [b"a"])
    first = written(tmp_path / "K1", K1, *own, groups=2)
    second = written(tmp_path / "K2", K2, *own, left={2: NEVER}, groups=2, created=1)
    assert "there is no replica of group 2 here" in refusal(first, second)


def test_damage_is_told_with_the_directory_that_has_it(first, second):
    remember_damage(RealDirectory(str(second)), "log.db: SQLite finds it damaged")
    with open_recovery(str(first), others=[str(second)]) as recovery:
        assert recovery.findings.damaged == str(second)
