"""Nodes with little memory: writes get -OOM, and no process is killed for its memory."""

import itertools
import os
import threading
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.harness import wait_until
from tests.cluster.wire import Refusal

pytestmark = pytest.mark.slow

MIB = 1 << 20
LIMIT = 256 * MIB
VALUE = os.urandom(100_000)
WRITERS = 4


class ControlGroup:
    """A control group of cgroup v2 or v1, whichever this machine lets us make."""

    def __init__(self, folder):
        self._folder = folder

    @staticmethod
    def create(name, size):
        """One with this limit; None if the machine does not allow it."""
        root = Path("/sys/fs/cgroup")
        for parent, limit_file in ((root, "memory.max"), (root / "memory", "memory.limit_in_bytes")):
            if not (parent / "cgroup.procs").exists():
                continue  # a folder for several mounts
            folder = parent / name
            try:
                folder.mkdir()
                with (folder / limit_file).open("r+") as file:  # only the kernel makes it
                    file.write(str(size))
            except OSError:
                continue
            return ControlGroup(folder)
        return None

    @property
    def under(self):
        """The program that starts another one in this group."""
        return ("/bin/sh", "-c", f'echo $$ > {self._folder}/cgroup.procs && exec "$@"', "sh")

    def remove(self):
        self._folder.rmdir()


@pytest.fixture
def control_groups():
    """Makes groups, to be removed when their processes are gone."""
    made = []
    names = (f"kraft-test-{os.getpid()}-{number}" for number in itertools.count())

    def make(size):
        group = ControlGroup.create(next(names), size)
        if group is None:
            pytest.skip("needs the right to make a control group with a memory limit")
        made.append(group)
        return group

    yield make
    for group in made:
        wait_until(partial(removed, group), "the control group is empty")


def removed(group):
    try:
        group.remove()
    except OSError:
        return False
    return True


def fill(server, prefix, errors):
    """Write new keys until the node refuses."""
    with server.client(60.0) as client:
        for number in itertools.count():
            reply = client.call("SET", f"{prefix}:{number}", VALUE)
            if isinstance(reply, Refusal):
                errors.append((number, str(reply)))
                return


def fill_up(servers):
    """Several clients write until each is refused; what they were told, and how many keys they wrote."""
    errors: list[tuple[int, str]] = []
    writers = [
        threading.Thread(target=fill, args=(servers[i % len(servers)], f"w{i}", errors))
        for i in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert len(errors) == WRITERS
    return errors


def info(server, field):
    rows = server.ask("INFO", "memory").decode().splitlines()
    [value] = [row.partition(":")[2] for row in rows if row.startswith(f"{field}:")]
    return int(value)


def check_that_deletion_helps(server):
    """Reads and deletions work; afterwards writes do."""
    keys = server.ask("DBSIZE")
    assert server.ask("GET", "w0:0") == VALUE
    for writer in range(WRITERS):
        server.ask("DEL", *[f"w{writer}:{number}" for number in range(keys)])
    wait_until(lambda: server.ask("SET", "again", VALUE) == "OK", "there is memory for a write again")


def test_a_control_group_is_no_trap(control_groups, make_cluster):
    """Three nodes of 256 MiB each and values of 100 kB: -OOM, and all three go on."""
    cluster = make_cluster()
    for server in cluster:
        group = control_groups(LIMIT)
        server.start(under=group.under)
    cluster.wait_serving()
    [told] = cluster["K1"].events("memory_limit")
    assert told["limit"] == LIMIT
    assert "/kraft-test-" in told["source"]
    assert 8 * MIB <= info(cluster["K1"], "maxmemory") == told["dataset_bytes"] < LIMIT // 2

    errors = fill_up(list(cluster))

    assert {text.partition(" ")[0] for _, text in errors} == {"OOM"}
    assert sum(number for number, _ in errors) * len(VALUE) > 20 * MIB
    assert all(server.running for server in cluster)
    assert all(server.resident_bytes() < LIMIT for server in cluster)
    check_that_deletion_helps(cluster.leader())
    assert all(server.running for server in cluster)
    cluster.wait_equal()


@pytest.mark.parametrize(("option", "size"), [("--data", 400 * MIB), ("--as", 1024 * MIB)])
def test_a_resource_limit_is_none_either(make_cluster, need, option, size):
    cluster = make_cluster(1)
    [server] = cluster
    server.start(under=(need("prlimit"), f"{option}={size}"))
    cluster.wait_serving()
    [told] = server.events("memory_limit")
    assert (told["limit"], told["source"]) == (size, {"--data": "RLIMIT_DATA", "--as": "RLIMIT_AS"}[option])

    errors = fill_up([server])

    assert {text.partition(" ")[0] for _, text in errors} == {"OOM"}
    assert server.running
    check_that_deletion_helps(server)


def test_what_is_not_data_counts_too(control_groups, make_cluster):
    """`limits.dataset_bytes` far too high: near the limit of the process, writes are refused all the same."""
    cluster = make_cluster(1, limits={"dataset_bytes": 1 << 40})
    [server] = cluster
    server.start(under=control_groups(LIMIT).under)
    cluster.wait_serving()

    errors = fill_up([server])

    assert {text.partition(" ")[0] for _, text in errors} == {"OOM"}
    assert server.running
    assert server.events("memory_full")
    wait_until(lambda: (server.status() or {}).get("memory_full"), "its status has it")
    assert server.ask("GET", "w0:0") == VALUE


def test_the_leader_speaks_for_the_others(control_groups, make_cluster):
    """Clients of a follower with more memory get -OOM when the leader has none left."""
    cluster = make_cluster()
    for server in cluster:
        group = (control_groups(LIMIT).under,) if server.id == "K1" else ()
        server.start(under=group[0] if group else ())
    cluster.wait_serving()
    cluster.insist("TRANSFER", "K1", over=lambda: cluster.leader().id == "K1")

    errors = fill_up([cluster["K2"], cluster["K3"]])

    assert {text.partition(" ")[0] for _, text in errors} == {"OOM"}
    assert all(server.running for server in cluster)
    assert info(cluster["K2"], "used_memory") < info(cluster["K2"], "maxmemory")
