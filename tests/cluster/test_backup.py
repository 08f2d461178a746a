"""Backups of real clusters under load, restored: the bank's total is right, every moment is as it was.

`KRAFT_TEST_BACKUPS` is the number of backups that are taken of the bank (`tox -e backups` takes 100).
"""

import collections
import io
import json
import os
import random
import threading
import time
from contextlib import redirect_stderr, redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kraft.cli.main import main
from kraft.kv.slots import slot_of
from tests.backup.directories import content_of
from tests.cluster.harness import Cluster, Server, maps, wait_until
from tests.cluster.load import PAUSE_SECONDS
from tests.cluster.wire import Refusal

pytestmark = pytest.mark.slow

ACCOUNTS, START = 20, 1000
MOMENTS = int(os.environ.get("KRAFT_TEST_MOMENTS", "6"))
LOG_TIME_ERROR_MS = 250  # of a leader that hears the clocks of the others late, on a busy machine
BACKUPS = int(os.environ.get("KRAFT_TEST_BACKUPS", "3"))


def run_kraft(*words) -> tuple[int, str, str]:
    """The exit status of one `kraft` command, and what it prints; in this process, as a start costs more."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        found = main([*map(str, words)])
    return found, out.getvalue(), err.getvalue()


def kraft(*words, status=0):
    """One `kraft` command; its JSON, or what it says when it fails."""
    found, out, err = run_kraft(*words)
    assert found == status, (words, out, err)
    return json.loads(out) if "--json" in words else out + err


def restore(source, data, *options):
    return kraft("restore", source, "--data-dir", data, "--id", "K1", "--json", "--yes", *options)


def address(server: Server) -> str:
    return f"127.0.0.1:{server.client_port}"


class Bank:
    """Clients that move money between accounts, each transfer a transaction, until the end of the block."""

    def __init__(self, cluster: Cluster) -> None:
        self._servers = list(cluster)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(3)]
        self.transfers = 0
        self.refused: collections.Counter[str] = collections.Counter()  # what clients heard instead

    def __enter__(self):
        for number in range(ACCOUNTS):
            assert self._servers[0].ask("SET", f"account:{number}", START) == "OK"
        for thread in self._threads:
            thread.start()
        self.advance(50)
        return self

    def advance(self, transfers: int) -> None:
        """Wait for so many transfers in all."""
        try:
            wait_until(lambda: self.transfers >= transfers, f"{transfers} transfers")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.transfers}, then {self.refused}") from None

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        dice = random.Random(number)
        while not self._stop.is_set():
            try:
                with self._servers[number % len(self._servers)].client() as client:
                    while not self._stop.wait(PAUSE_SECONDS):
                        self._transfer(client, dice)
            except OSError as error:
                self.refused[repr(error)] += 1
                self._stop.wait(0.01)

    def _transfer(self, client, dice: random.Random) -> None:
        source, target = dice.sample(range(ACCOUNTS), 2)
        amount = dice.randint(1, 50)
        for command in (
            ("MULTI",),
            ("INCRBY", f"account:{source}", -amount),
            ("INCRBY", f"account:{target}", amount),
            ("EXEC",),
        ):
            answer = client.call(*command)
        if isinstance(answer, Refusal):
            self.refused[answer] += 1
        else:
            self.transfers += 1


def check_total(directory: Path, source: object) -> None:
    """All money is in a directory that was restored from `source`."""
    keys = content_of(directory)
    accounts = {key: int(value) for key, value in keys.items() if key.startswith(b"account:")}
    found = len(accounts), sum(accounts.values())
    assert found == (ACCOUNTS, ACCOUNTS * START), (source, directory, accounts)


def test_every_backup_of_a_bank_under_load_has_the_right_total(cluster, tmp_path):
    """From each node in turn. What is restored has the sum of the image, and none of it disturbs the bank."""
    with Bank(cluster) as bank:
        for number in range(BACKUPS):
            server = list(cluster)[number % 3]
            before = bank.transfers
            made = kraft(
                "backup", "--to", tmp_path / "b", "--name", f"n{number}", "-s", address(server), "--json"
            )
            assert made["verified"]
            assert made["node"] == server.id
            restored = restore(made["directory"], tmp_path / f"data{number}")
            assert restored["groups"][0]["sum"] == made["groups"][0]["sum"]
            check_total(tmp_path / f"data{number}", made)
            bank.advance(before + 1)
    verified = kraft("backup", "verify", tmp_path / "b", "--json")
    assert [each["name"] for each in verified["images"]] == [f"n{n}" for n in range(BACKUPS)]
    cluster.wait_equal()


@pytest.mark.endurance
def test_every_backup_of_a_bank_over_groups_is_whole(make_cluster, tmp_path):
    """Images, and moments of the shipped logs: in each of them all money of three groups is there."""
    directory = tmp_path / "shipped"
    cluster = make_cluster(3, cluster={"groups": 3}, backup={"directory": str(directory), "interval": "1h"})
    cluster.start()
    wait_until(lambda: list(directory.glob("*/*/manifest.json")), "the first image is there")
    with Bank(cluster) as bank:
        first_ms, end_ms = check_images(cluster, bank, tmp_path)
    check_moments(directory, first_ms, end_ms, tmp_path)
    wait_until(lambda: equal_in_every_group(cluster), "the replicas of every group are equal")


def check_images(cluster: Cluster, bank: Bank, folder: Path) -> tuple[float, float]:
    """Restore BACKUPS images, all money in each; returns their beginning and end (Unix ms)."""
    first_ms = time.time() * 1000 + LOG_TIME_ERROR_MS
    for number in range(BACKUPS):
        server, before = list(cluster)[number % 3], bank.transfers
        made = kraft("backup", "--to", folder / "b", "--name", f"n{number}", "-s", address(server), "--json")
        restore(made["directory"], folder / f"data{number}")
        check_total(folder / f"data{number}", made)
        bank.advance(before + 1)
    return first_ms, time.time() * 1000


def check_moments(directory: Path, first_ms: float, end_ms: float, folder: Path) -> None:
    """Restore MOMENTS moments of the shipped logs, all money in each."""
    wait_until(lambda: reaches(directory) > end_ms, "everything is shipped")
    dice = random.Random(7)
    for number in range(MOMENTS):
        moment = dice.uniform(first_ms, end_ms)
        restore(directory, folder / f"at{number}", "--at", as_text(moment))
        check_total(folder / f"at{number}", as_text(moment))


class Mover:
    """Moves slots of accounts from group to group, one after the other, until the end of the block."""

    def __init__(self, cluster: Cluster, groups: int) -> None:
        self._cluster, self._groups = cluster, groups
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.moves = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        slots = sorted({slot_of(b"account:%d" % number) for number in range(ACCOUNTS)})
        dice = random.Random(3)
        while not self._stop.is_set():
            slot, group = dice.choice(slots), dice.randrange(self._groups)
            planned = self._order("MOVE", "SLOTS", slot, slot, "TO", group)
            if isinstance(planned, int):
                wait_until(lambda: not self._order("MOVES"), "the move is over")
                self.moves += 1

    def _order(self, *words: str | int) -> Any:
        return self._cluster["K1"].order(*words)


@pytest.mark.endurance
def test_every_backup_of_a_bank_whose_slots_move_is_whole(make_cluster, tmp_path):
    """Images, and moments of the shipped logs: all money is there, each account once."""
    directory = tmp_path / "shipped"
    cluster = make_cluster(3, cluster={"groups": 3}, backup={"directory": str(directory), "interval": "1h"})
    cluster.start()
    wait_until(lambda: list(directory.glob("*/*/manifest.json")), "the first image is there")
    with Bank(cluster) as bank, Mover(cluster, 3) as mover:
        first_ms, end_ms = check_images(cluster, bank, tmp_path)
    assert mover.moves > BACKUPS / 2
    check_moments(directory, first_ms, end_ms, tmp_path)
    new = make_cluster(1)["K1"]
    kraft("restore", directory, "--config", new.config, "--at", as_text((first_ms + end_ms) / 2), "--yes")
    new.start()
    new.wait_serving()
    assert sum(int(new.ask("GET", f"account:{number}")) for number in range(ACCOUNTS)) == ACCOUNTS * START
    assert new.order("MOVES") == []
    wait_until(lambda: equal_in_every_group(cluster), "the replicas of every group are equal")


def equal_in_every_group(cluster: Cluster) -> bool:
    answer = cluster.order("VERIFY")
    return not isinstance(answer, Refusal) and all(row["state"] == "equal" for row in maps(answer))


def as_text(ms: float) -> str:
    """A time in Unix ms, as for --at."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + f".{int(ms % 1000):03}Z"


def test_a_restored_node_serves_and_stays_away_from_its_old_cluster(cluster, tmp_path, make_cluster):
    """Also what is beside the keys: a token, a script, a user."""
    server = cluster.leader()
    assert server.ask("SET", "greeting", "hello") == "OK"
    sha = server.ask("SCRIPT", "LOAD", "return redis.call('GET', KEYS[1])")
    assert server.ask("KRAFT", "ONCE", "payment-1", "INCR", "paid") == 1
    assert server.ask("ACL", "SETUSER", "app", "on", ">secret", "~app:*", "+get") == "OK"
    made = kraft("backup", "--to", tmp_path / "b", "-s", address(server), "--json")
    new = make_cluster(1)["K1"]
    told = kraft("restore", made["directory"], "--config", new.config)
    assert "nothing was changed: repeat it with --yes" in told
    assert not new.data.exists()
    assert "is a founder of the new cluster" in kraft(
        "restore", made["directory"], "--config", new.config, "--yes"
    )
    assert "is not empty" in kraft("restore", made["directory"], "--config", new.config, "--yes", status=1)
    new.start()
    new.wait_serving()
    assert new.ask("GET", "greeting") == b"hello"
    assert new.ask("EVALSHA", sha, 1, "greeting") == b"hello"
    assert new.ask("KRAFT", "ONCE", "payment-1", "INCR", "paid") == 1
    assert new.ask("INCR", "paid") == 2
    assert new.ask("AUTH", "app", "secret") == "OK"
    assert new.ask("ACL", "DRYRUN", "app", "GET", "app:1") == "OK"
    assert b"no permissions" in new.ask("ACL", "DRYRUN", "app", "GET", "greeting")
    assert (new.status() or {})["cluster"] != (server.status() or {})["cluster"]
    answer = cluster.order("ADD", "K9", "127.0.0.1", new.peer_port)
    assert isinstance(answer, Refusal), answer


def test_three_founders_are_restored_each_by_itself(cluster, tmp_path, make_cluster):
    for number in range(50):
        assert cluster["K1"].ask("SET", f"key:{number}", number) == "OK"
    made = kraft("backup", "--to", tmp_path / "b", "-s", address(cluster["K2"]), "--json")
    cluster.kill_all()
    new = make_cluster(3)
    said = kraft("restore", made["directory"], "--config", new["K1"].config)
    token = said.partition("--token ")[2].split()[0]
    for server in new:
        kraft("restore", made["directory"], "--config", server.config, "--token", token, "--yes")
    new.start()
    assert all(server.ask("GET", "key:49") == b"49" for server in new)
    assert set(new.kinds()) == {"K1", "K2", "K3"}
    new.leader().kill()
    new.wait_serving()
    assert next(each for each in new if each.running).ask("SET", "after", "1") == "OK"


def test_a_node_restores_at_its_first_start_if_its_file_says_so(cluster, tmp_path, make_cluster):
    assert cluster["K1"].ask("SET", "greeting", "hello") == "OK"
    kraft("backup", "--to", tmp_path / "b", "-s", address(cluster["K1"]), "--json")
    new = make_cluster(1, restore={"source": str(tmp_path / "b")})
    new.start()
    assert new["K1"].ask("GET", "greeting") == b"hello"
    assert new["K1"].events("backup_restored")
    assert new["K1"].ask("SET", "greeting", "again") == "OK"
    new["K1"].terminate()
    new.start()  # now it has data
    assert new["K1"].ask("GET", "greeting") == b"again"
    assert new["K1"].events("restore_option_ignored")


class Counter:
    """One client that counts up, and remembers when each count was asked for and answered (Unix ms)."""

    def __init__(self, cluster: Cluster) -> None:
        self._servers = list(cluster)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.asked: list[tuple[float, int]] = []  # (ms, count), acknowledged ones only
        self.answered: list[tuple[float, int]] = []

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def advance(self, count: int) -> None:
        wanted = len(self.answered) + count
        wait_until(lambda: len(self.answered) >= wanted, f"{count} more counts")

    def _run(self) -> None:
        place = 0
        while not self._stop.is_set():
            place += 1
            try:
                with self._servers[place % len(self._servers)].client() as client:
                    while not self._stop.wait(PAUSE_SECONDS):
                        before = time.time() * 1000
                        reply = client.call("INCR", "counter")
                        if isinstance(reply, int):
                            self.asked.append((before, reply))
                            self.answered.append((time.time() * 1000, reply))
            except OSError:
                self._stop.wait(0.01)


def shipped(server: Server, directory: Path) -> int:
    listed = kraft("backup", "list", directory, "--json")["clusters"]
    return max((log["index"] for each in listed for log in each["log"]), default=0)


def test_every_moment_since_the_first_image_can_be_restored(make_cluster, tmp_path):
    """While leaders are killed, logs are cut, and the node that ships is killed and comes back."""
    directory = tmp_path / "backups"
    cluster = make_cluster(3, backup={"directory": str(directory), "interval": "1h"})
    cluster.start()
    wait_until(lambda: list(directory.glob("*/*/manifest.json")), "the first image is there")
    with Counter(cluster) as counter:
        counter.advance(100)
        begun_ms = time.time() * 1000
        wait_until(lambda: reaches(directory) > begun_ms, "the beginning is shipped")
        for _ in range(2):
            victim = cluster.leader()
            victim.kill()
            counter.advance(50)
            assert isinstance(cluster.order("SNAPSHOT"), int)
            for server in cluster:
                if server.running:
                    server.order("COMPACT", "KEEP", 0)
            victim.start()
            cluster.wait_serving()
            counter.advance(50)
        last = counter.answered[-1][1]
    end_ms = time.time() * 1000
    wait_until(lambda: reaches(directory) > end_ms, "everything is shipped")
    kraft("backup", "verify", directory, "--json")
    first_ms = counter.answered[0][0]
    dice, found = random.Random(7), 0
    moments = [counter.answered[50][0], *(dice.uniform(first_ms, end_ms) for _ in range(MOMENTS - 1))]
    for number, moment in enumerate(moments):
        found += check_moment(directory, tmp_path / f"at{number}", counter, moment)
    gaps = sum(len(server.events("backup_gap")) for server in cluster)
    assert found == MOMENTS or (gaps and found), (found, gaps)
    restore(directory, tmp_path / "latest")
    assert int(content_of(tmp_path / "latest")[b"counter"]) >= last


def check_moment(directory: Path, data: Path, counter: Counter, moment: float) -> bool:
    """Restore this moment (Unix ms), and compare it with what the client knows; False if it is in a gap.

    A log that is cut at once, before it is shipped, leaves a gap; it ends with the next image.
    """
    when = as_text(moment)
    status, _, told = run_kraft("restore", directory, "--data-dir", data, "--id", "K1", "--at", when, "--yes")
    if status:
        assert "the backup of group 0 reaches to" in told, (when, told)
        images = kraft("backup", "list", directory, "--json")["clusters"][0]["images"]
        assert any(image["created_ms"] > moment for image in images), (when, images)
        return False
    restored = int(content_of(data).get(b"counter", b"0"))
    least = max((count for at, count in counter.answered if at <= moment - LOG_TIME_ERROR_MS), default=0)
    most = max((count for at, count in counter.asked if at <= moment + LOG_TIME_ERROR_MS), default=0)
    assert least <= restored <= most + unknown(counter, moment), (when, least, restored, most)
    return True


def unknown(counter: Counter, moment: float) -> int:
    """How many counts were executed before `moment` without an answer: the gaps in what was answered."""
    counts = [0, *(count for at, count in counter.answered if at <= moment + 5000)]
    return max((b - a - 1 for a, b in pairwise(counts)), default=0)


def reaches(directory: Path, *options: object) -> float:
    listed = kraft("backup", "list", directory, "--json", *options)["clusters"]
    return min((log["reaches_ms"] for each in listed for log in each["log"]), default=0)


def test_a_backup_is_taken_on_demand_and_old_ones_go(make_cluster, tmp_path):
    cluster = make_cluster(
        1, backup={"directory": str(tmp_path / "b"), "interval": "0s", "keep": 2, "ship": False}
    )
    cluster.start()
    node = cluster["K1"]
    made = []
    for name in ([], ["before-upgrade"], [], []):
        answer = node.order("BACKUP", *name)
        assert not isinstance(answer, Refusal), answer
        made.append(maps([answer])[0]["name"])
    assert "already" in node.order("BACKUP", "before-upgrade")
    assert "no name of an image" in node.order("BACKUP", "../three")
    listed = kraft("backup", "list", tmp_path / "b", "--json")["clusters"]
    assert [each["name"] for each in listed[0]["images"]] == made[1:]
    told = kraft("backup", "list", tmp_path / "b")
    assert "before-upgrade" in told


def test_a_node_without_a_directory_says_what_to_do(shared_cluster):
    answer = shared_cluster.leader().order("BACKUP", "now")
    assert "kraft backup --to DIRECTORY" in answer
    assert "no image with this token" in shared_cluster.leader().order("IMAGE", "READ", 7, 0)


def test_several_groups_are_restored_to_one_time(make_cluster, tmp_path):
    """Each group has an index of its own; a time is the same for all of them."""
    directory = tmp_path / "backups"
    cluster = make_cluster(1, cluster={"groups": 3}, backup={"directory": str(directory)})
    cluster.start()
    node = cluster["K1"]
    wait_until(lambda: list(directory.glob("*/*/manifest.json")), "the first image is there")
    for number in range(60):
        assert node.ask("SET", f"key:{number}", number) == "OK"
    time.sleep(0.01)  # the next write is of another millisecond
    then_ms = int(time.time() * 1000)
    time.sleep(0.01)
    for number in range(60):
        assert node.ask("SET", f"key:{number}", "spoilt") == "OK"
    wait_until(lambda: reaches(directory) > then_ms + 1000, "everything is shipped")
    when = as_text(then_ms)
    restored = restore(directory, tmp_path / "then", "--at", when)
    assert len(restored["groups"]) == 3
    wanted = {b"key:%d" % number: b"%d" % number for number in range(60)}
    assert content_of(tmp_path / "then") == wanted
    assert "name a time" in kraft(
        "restore", directory, "--data-dir", tmp_path / "x", "--id", "K1", "--at", 7, status=1
    )
    new = make_cluster(1)["K1"]
    kraft("restore", directory, "--config", new.config, "--at", when, "--yes")
    new.start()
    new.wait_serving()
    assert new.ask("GET", "key:7") == b"7"
    assert new.ask("DBSIZE") == 60


def test_an_encrypted_backup_needs_its_key(make_cluster, tmp_path):
    key, other = tmp_path / "key", tmp_path / "other"
    key.write_text("0f" * 32)
    other.write_text("f0" * 32)
    directory = tmp_path / "backups"
    cluster = make_cluster(1, backup={"directory": str(directory), "key_file": str(key)})
    cluster.start()
    node = cluster["K1"]
    wait_until(lambda: list(directory.glob("*/*/manifest.json")), "the first image is there")
    assert node.ask("SET", "greeting", "a very secret word") == "OK"
    after_ms = time.time() * 1000
    wait_until(lambda: reaches(directory, "--key-file", key) > after_ms, "it is shipped")
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert not any(b"secret word" in path.read_bytes() for path in files)
    words = ("restore", directory, "--data-dir", tmp_path / "data", "--id", "K1", "--yes")
    assert "encrypted with another key" in kraft(*words, "--key-file", other, status=1)
    assert "name the key file" in kraft(*words, status=1)
    kraft(*words, "--key-file", key)
    assert content_of(tmp_path / "data")[b"greeting"] == b"a very secret word"
