"""`kraft recover` as it is typed: a dry run by default, a question at a terminal, and what is said."""

import builtins
import json
import sys
from dataclasses import replace

import pytest

from kraft.cli import recover
from kraft.cli.main import main
from kraft.host.membership.formation import cluster_id
from kraft.kv import commands
from kraft.kv.slot_settlement import SettledSlots
from kraft.node.values import Identity, Transaction
from kraft.raft.membership.configuration import Configuration, Member
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ready import Persist
from kraft.storage.damage import DAMAGE_FILE, remember_damage
from kraft.storage.directory import RealDirectory
from kraft.storage.lock import DirectoryLock
from kraft.storage.log.database import LogDatabase
from kraft.storage.offline.recovery import open_recovery
from kraft.storage.ports import StorageSettings

MEMBERS = tuple(Member(f"K{n}", f"{n}" * 32, f"10.0.0.{n}:10001") for n in (1, 2, 3))
ALL = Configuration.of_voters(MEMBERS)
CLUSTER = cluster_id(MEMBERS)
HOUR_MS = 3_600_000
NOW_MS = 500_000 * HOUR_MS


def open_log(path):
    return LogDatabase(
        RealDirectory(str(path)), node_id="K1", incarnation=lambda: "1" * 32, settings=StorageSettings()
    )


@pytest.fixture
def survivor(tmp_path, monkeypatch):
    """K1's directory: 3 entries known to be committed, then 2 with 3 commands, the last an hour ago."""
    monkeypatch.setattr("kraft.cli.recover.time.time_ns", lambda: NOW_MS * 1_000_000)
    batch = [commands.Put(b"a", b"1"), commands.Put(b"b", b"2")]
    entries = (
        Entry(1, 1, 0, EntryKind.CONFIGURATION, ALL.encode()),
        Entry(2, 2, 5, EntryKind.NOOP, b""),
        Entry(3, 2, 6, EntryKind.COMMANDS, commands.encode(batch)),
        Entry(4, 2, 7, EntryKind.COMMANDS, commands.encode(batch)),
        Entry(5, 2, NOW_MS - HOUR_MS, EntryKind.COMMANDS, commands.encode(batch[:1])),
    )
    database = open_log(tmp_path)
    persist = Persist(0, HardState(4), None, entries, 3)
    database.commit([Transaction(((0, persist),), Identity("K1", "1" * 32, CLUSTER, MEMBERS))])
    database.close()
    return tmp_path


@pytest.fixture
def terminal(monkeypatch):
    """`terminal(answer)`: somebody sits there, and types this."""

    def sit(answer):
        def typed(_prompt):
            if answer is None:
                raise EOFError
            return answer

        monkeypatch.setenv("TERM", "dumb")  # plain text
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setattr(builtins, "input", typed)

    return sit


def cluster_of(directory):
    database = open_log(directory)
    database.abandon()
    return database.loaded.identity.cluster


@pytest.mark.parametrize("arguments", [[], ["--yes", "--dry-run", "K1"], ["K1", "K2"]])
def test_wrong_usage_is_status_2(arguments):
    with pytest.raises(SystemExit) as ended:
        main(["recover", *arguments])
    assert ended.value.code == 2


def test_a_dry_run_says_what_is_kept_and_what_may_be_lost(survivor, capsys):
    assert main(["recover", str(survivor)]) == 0
    text = capsys.readouterr().out
    assert f"node K1 of cluster {CLUSTER[:12]}, a voter; other members: K2, K3" in text
    assert "index 5 of term 2, written 1 hour ago (2027-01-15 07:00:00 UTC)" in text
    assert "entries up to 3: known to be committed" in text
    assert "2 entries after that, 3 commands, may or may not have been acknowledged:" in text
    assert "anything after index 5 of term 2" in text
    assert "2 of the 3 voters (K1, K2, K3) must be gone for good" in text
    assert "the highest term, and\n  among equal terms the highest index" in text
    assert text.endswith("\nnothing was changed\n")
    assert cluster_of(survivor) == CLUSTER


def test_with_yes_it_is_done(survivor, capsys):
    assert main(["recover", "--yes", str(survivor)]) == 0
    text = capsys.readouterr().out
    new = cluster_of(survivor)
    assert new != CLUSTER
    assert f"done: K1 is the only voter of the new cluster {new[:12]}" in text
    assert "KRAFT ADD" in text
    assert "nothing was changed" not in text

    assert main(["recover", "--yes", str(survivor)]) == 1
    assert "the only voter of its cluster already" in capsys.readouterr().err


def test_two_recoveries_of_one_copy_are_two_clusters(survivor, tmp_path_factory):
    """Each has its own mark, so that the results refuse each other."""
    copy = tmp_path_factory.mktemp("copy")
    for file in survivor.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert main(["recover", "--yes", str(survivor)]) == main(["recover", "--yes", str(copy)]) == 0
    assert cluster_of(survivor) != cluster_of(copy)


def test_damage_that_a_process_met_is_a_warning_and_is_forgotten_with_the_old_cluster(survivor, capsys):
    """What a start reads is whole, so that the data can be taken where no other survivor has it."""
    remember_damage(RealDirectory(str(survivor)), "log.db: SQLite finds it damaged (malformed); this node's")
    assert main(["recover", str(survivor)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    reason = "log.db: SQLite finds it damaged (malformed)"
    assert f"WARNING a process has ended because of damage in {survivor}: {reason}" in text
    assert "prefer another survivor" in text
    assert (survivor / DAMAGE_FILE).exists()

    assert main(["recover", "--yes", str(survivor)]) == 0
    assert not (survivor / DAMAGE_FILE).exists()


@pytest.mark.parametrize("answer", ["", None])
def test_at_a_terminal_enter_leaves_all_as_it_is(survivor, terminal, capsys, answer):
    terminal(answer)
    assert main(["recover", str(survivor)]) == 0
    assert "nothing was changed" in capsys.readouterr().out
    assert cluster_of(survivor) == CLUSTER


def test_at_a_terminal_the_id_of_the_node_does_it(survivor, terminal):
    terminal(" K1 ")
    assert main(["recover", str(survivor)]) == 0
    assert cluster_of(survivor) != CLUSTER


def test_at_a_terminal_another_id_is_a_mistake(survivor, terminal, capsys):
    terminal("K2")
    assert main(["recover", str(survivor)]) == 1
    assert "'K2' is not the id of this node: nothing was changed" in capsys.readouterr().err
    assert cluster_of(survivor) == CLUSTER


@pytest.mark.parametrize("option", ["--dry-run", "--json"])
def test_at_a_terminal_nothing_is_asked_when_a_dry_run_is_wanted(survivor, terminal, option):
    terminal("K1")
    assert main(["recover", option, str(survivor)]) == 0
    assert cluster_of(survivor) == CLUSTER


def test_json_of_a_dry_run_and_of_the_deed(survivor, capsys):
    assert main(["recover", "--json", str(survivor)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "directory": str(survivor),
        "node": "K1",
        "incarnation": "1" * 32,
        "cluster": CLUSTER,
        "voters": ["K1", "K2", "K3"],
        "learners": [],
        "joint": False,
        "must_be_gone": [2],
        "groups": [
            {
                "group": 0,
                "node": "K1",
                "directory": str(survivor),
                "last_term": 2,
                "last_index": 5,
                "last_stamp_ms": NOW_MS - HOUR_MS,
                "term": 4,
                "first_index": 1,
                "committed": 3,
                "uncommitted_entries": 2,
                "uncommitted_commands": 3,
                "checkpoint": 0,
                "fenced": False,
                "left_out": None,
            }
        ],
        "slots": [],
        "unsettled": "",
        "damage": "",
        "recovered": False,
        "new_cluster": None,
    }

    assert main(["recover", "--json", "--yes", str(survivor)]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done == told | {"recovered": True, "new_cluster": cluster_of(survivor)}


def test_slots_without_an_owner_are_told_with_what_becomes_of_them(survivor, capsys):
    """Those of many moves are not all in the text."""
    with open_recovery(str(survivor)) as recovery:
        found = recovery.findings
    slots = tuple(SettledSlots(n, n + 1, 2, 1000, ()) for n in range(0, 40, 2))
    both = SettledSlots(99, 99, 1, 1, (0, 1))
    told = text_of(recover.report("K1", replace(found, settled=(both, *slots), unsettled="why"), NOW_MS))
    assert "slot 99: groups 0 and 1 have them here; group 1 keeps them, with 1 key\n" in told
    assert "slots 0-1: no group has them here; group 2 gets them, with 1000 keys\n" in told
    assert "and 5 ranges more: --json shows all\n" in told
    assert "cannot be mended: why" in told
    facts = recover.facts("K1", replace(found, settled=(both,)), None)
    assert facts["slots"] == [{"first": 99, "last": 99, "had": [0, 1], "group": 1, "keys": 1}]


def text_of(lines):
    """The lines without their styles."""
    texts = [[span if isinstance(span, str) else span.text for span in each.spans] for each in lines]
    return "".join("".join(spans) + "\n" for spans in texts)


def test_a_running_node_is_left_alone(survivor, capsys):
    lock = DirectoryLock(str(survivor))
    assert main(["recover", "--yes", str(survivor)]) == 1
    assert "in use by process" in (told := capsys.readouterr().err)
    assert told.endswith("stop the node first\n")
    lock.release()


def test_a_damaged_directory_is_no_help(survivor, capsys):
    (survivor / "log.db").write_bytes(b"nothing of the kind" * 1000)
    assert main(["recover", "--yes", str(survivor)]) == 1
    assert "take another survivor, or a backup" in capsys.readouterr().err


def test_a_directory_that_is_not_there(tmp_path, capsys):
    assert main(["recover", str(tmp_path / "none")]) == 1
    assert "there is no such directory" in capsys.readouterr().err


def test_data_that_is_known_to_differ_is_told(survivor, capsys):
    database = open_log(survivor)
    database.fence(0, True)
    database.close()
    assert main(["recover", str(survivor)]) == 0
    assert "WARNING" in (told := capsys.readouterr().out)
    assert "prefer another survivor" in told


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "written less than a second ago"),
        (1, "written 1 second ago"),
        (59, "written 59 seconds ago"),
        (60, "written 1 minute ago"),
        (3 * 3600 + 5 * 60 + 7, "written 3 hours 5 minutes ago"),
        (86_400 + 59, "written 1 day ago"),
        (40 * 86_400 + 3600, "written 40 days 1 hour ago"),
        (-1, "ahead of this machine's clock"),
    ],
)
def test_the_age_of_an_entry_in_words(seconds, words):
    assert words in recover.age(NOW_MS - seconds * 1000, NOW_MS)


def test_an_entry_without_a_time():
    """The one that a cluster is formed with."""
    assert recover.age(0, NOW_MS) == "which has no time"
