"""What each check of `kraft doctor` finds."""

import dataclasses
import json
import os
import resource
import socket

import pytest

from kraft.cli import status
from kraft.cli.checks import cluster, files, machine, network, subject
from kraft.cli.checks.result import OK, PROBLEM, WARNING
from kraft.cli.checks.subject import Subject, look_at
from kraft.config import parse
from kraft.node.values import Transaction
from kraft.process.memory_limit import MemoryLimit
from kraft.raft.messages import HardState
from kraft.raft.ready import Persist
from kraft.storage.access import user_name
from kraft.storage.directory import RealDirectory
from kraft.storage.errors import StorageError
from kraft.storage.lock import DirectoryLock, holder
from kraft.storage.log.database import LogDatabase
from kraft.storage.ports import StorageSettings
from kraft.telemetry.recent.facts import Facts
from kraft.web.findings import DISK_FREE_BYTES
from kraft.web.report import encode
from tests.web.reports import member, replica, report, silent, view, without

SECTIONS = """
node: {{id: K1, data: {data}}}
peer: {{listen: "tcp:0:interface=127.0.0.1", advertise: "127.0.0.1:1"}}
client: {{listen: "tcp:0:interface=127.0.0.1", advertise: "127.0.0.1:2"}}
http: {{listen: ""}}
"""


@pytest.fixture
def stopped(tmp_path):
    """`stopped(text, pid=..., view=...)`: a node whose data directory is `tmp_path / "data"`."""

    def make(text="", **changed):
        config = parse(SECTIONS.format(data=tmp_path / "data") + text, "K1.yaml")
        return dataclasses.replace(Subject("K1.yaml", config, None), **changed)

    return make


@pytest.fixture
def data(tmp_path):
    """The directory, made by a node that has stopped."""
    path = tmp_path / "data"
    path.mkdir(mode=0o700)
    database = opened(path)
    database.commit([Transaction(((0, Persist(0, HardState(4), None, (), 0)),), None)])
    database.close()
    return path


def opened(path, node="K1"):
    return LogDatabase(
        RealDirectory(str(path)), node_id=node, incarnation=lambda: "1" * 32, settings=StorageSettings()
    )


def levels(findings):
    return [finding.level for finding in findings]


def first(findings):
    return next(iter(findings))


def only(findings):
    [found] = findings
    return found


# -- whom it looks at ---------------------------------------------------------------------------------

HTTP = 'http: {listen: "tcp:21:interface=0.0.0.0", advertise: "h:21"}\n'


def asked(monkeypatch, answers):
    """Nodes answer by address; those that are not there do not."""

    def ask(name, address, _timeout):
        told = answers.get(address)
        if told is None:
            return status.StatusReply(name, address, error="Connection refused")
        return status.StatusReply(told.status.node, address, json.loads(encode(told, pretty=False)))

    monkeypatch.setattr(status, "ask", ask)


def test_a_node_that_answers_shows_the_cluster(stopped, monkeypatch):
    config = parse(SECTIONS.format(data="d").replace('http: {listen: ""}\n', HTTP), "K1.yaml")
    asked(monkeypatch, {"127.0.0.1:21": report("K1"), "K2:21": report("K2")})
    found = look_at("K1.yaml", config).view
    assert found is not None
    assert [(each.id, each.error) for each in found.answers] == [
        ("K1", ""), ("K2", ""), ("K3", "Connection refused"),
    ]  # fmt: skip
    assert found.own.status.node == "K1"


def test_a_node_that_is_another_is_not_taken_for_this_one(monkeypatch):
    config = parse(SECTIONS.format(data="d").replace('http: {listen: ""}\n', HTTP), "K1.yaml")
    asked(monkeypatch, {"127.0.0.1:21": report("K2")})
    found = look_at("K1.yaml", config)
    assert (found.running, found.view) == (False, None)
    assert found.silence == "node 'K2' answers at 127.0.0.1:21 instead"


def test_who_holds_the_lock_runs(data, stopped):
    config = stopped().config
    assert holder(str(data)) is None
    lock = DirectoryLock(str(data))
    assert look_at("K1.yaml", config).pid == os.getpid()
    lock.release()
    assert look_at("K1.yaml", config).pid is None
    assert holder(str(data / "none")) is None


def test_a_node_that_is_hidden_may_run(data, stopped, monkeypatch):
    """Who may not see the lock says so, and takes no port for a stranger's."""

    def closed(_path):
        raise PermissionError(13, "Permission denied")

    config = stopped().config
    monkeypatch.setattr(subject, "holder", closed)
    found = look_at("K1.yaml", config)
    assert (found.running, found.hidden) == (False, True)
    assert only(cluster.node(found)).level == WARNING
    assert levels(network.ports(found)) == [OK]

    answering = parse(SECTIONS.format(data=data).replace('http: {listen: ""}\n', HTTP), "K1.yaml")
    asked(monkeypatch, {"127.0.0.1:21": report("K1")})
    found = look_at("K1.yaml", answering)
    assert (found.pid, found.hidden) == (0, False)


# -- files --------------------------------------------------------------------------------------------


def test_a_directory_that_is_still_to_be_made(stopped, tmp_path, monkeypatch):
    assert levels(files.directory(stopped())) == [OK]
    assert not (tmp_path / "data").exists()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert levels(files.directory(stopped())) == [PROBLEM]


def test_a_directory_that_is_a_file(stopped, tmp_path):
    (tmp_path / "data").write_text("")
    assert "is not a directory" in only(files.directory(stopped())).text


def test_a_stopped_node_is_looked_into(stopped, data):
    """Nothing is changed by it."""
    before = {path.name: path.read_bytes() for path in data.iterdir() if path.name != "lock"}
    found = only(files.directory(stopped()))
    assert (found.level, found.text) == (
        OK, f"{data} has the data of K1, no cluster yet; the log of group 0 ends at index 0",
    )  # fmt: skip
    assert {path.name: path.read_bytes() for path in data.iterdir() if path.name != "lock"} == before


def test_a_running_node_is_not_looked_into(stopped, data, monkeypatch):
    monkeypatch.setattr(files, "inspect", None)
    found = only(files.directory(stopped(pid=77)))
    assert (found.level, "is locked by process 77" in found.text) == (OK, True)


def test_root_does_not_look_into_what_is_not_its_own(stopped, data, monkeypatch):
    """It would leave files that the node cannot open."""
    monkeypatch.setattr(files, "inspect", None)
    monkeypatch.setattr(files, "mine", lambda _: False)
    found = only(files.directory(stopped()))
    assert found.command == f"sudo -u {user_name(os.geteuid())} kraft doctor K1.yaml"


def test_files_that_their_owner_cannot_use(stopped, data):
    """Whoever asks: root may read and write everything, and its node would not."""
    (data / "log.db").chmod(0o444)
    (data / "ballast").mkdir()
    (data / "notes.txt").touch(0)
    found = [each for each in files.directory(stopped(pid=77)) if each.level == PROBLEM]
    assert [(each.text, each.command) for each in found] == [
        (f"{data / 'ballast'} is a directory, not a file: mv {data / 'ballast'} {data / 'ballast'}.away",
         f"ls -ld {data / 'ballast'}"),
        (f"its owner may not read and write {data / 'log.db'} (mode 0444)", f"chmod u+rw {data / 'log.db'}"),
    ]  # fmt: skip
    data.chmod(0o500)
    assert f"chmod u+rwx {data}" in [each.command for each in files.directory(stopped(pid=77))]


def test_a_log_that_lost_its_end(stopped, data):
    """Another directory's high-water mark stands for it."""
    database = opened(data)
    database.commit([Transaction(((0, Persist(1, HardState(9), None, (), 0)),), None)])
    database.close()
    mark = (data / "highwater").read_bytes()
    for path in data.iterdir():
        path.unlink()
    opened(data).close()
    (data / "highwater").write_bytes(mark)

    found = only(files.directory(stopped()))
    assert found.level == PROBLEM
    assert "the log knows term 0, but term 9 was stored" in found.text
    assert "KRAFT REPLACE" in found.text


def test_a_log_that_is_gone(stopped, data):
    (data / "log.db").unlink()
    found = only(files.directory(stopped()))
    assert (found.level, "highwater is there" in found.text) == (PROBLEM, True)


def test_the_directory_of_another_node(stopped, tmp_path):
    path = tmp_path / "data"
    path.mkdir(mode=0o700)
    opened(path, "K2").close()
    assert levels(files.directory(stopped())) == [PROBLEM, OK]


def test_a_directory_that_others_can_read(stopped, data):
    data.chmod(0o755)
    found = first(files.directory(stopped()))
    assert (found.level, found.command) == (WARNING, f"chmod 700 {data}")


def test_files_of_somebody_else(stopped, data, monkeypatch):
    monkeypatch.setattr(files, "_of_others", lambda *_: ["log.db-wal"])
    found = first(files.directory(stopped()))
    assert (found.level, "log.db-wal in it to another user" in found.text) == (PROBLEM, True)


@pytest.mark.parametrize(
    ("content", "mode", "found"),
    [
        ("x" * 32, 0o640, [OK]),
        ("x" * 32, 0o644, [WARNING, OK]),
        ("x" * 15, 0o600, [WARNING]),
        (" \n", 0o600, [PROBLEM]),
        (None, 0, [PROBLEM]),
    ],
)
def test_the_secret(stopped, tmp_path, content, mode, found):
    path = tmp_path / "secret"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    assert levels(files.secret(stopped(f"cluster: {{secret_file: {path}}}"))) == found


def test_a_secret_that_the_owner_of_the_data_cannot_read(stopped, data, tmp_path, monkeypatch):
    path = tmp_path / "secret"
    path.write_text("x" * 32)
    path.chmod(0o600)
    monkeypatch.setattr(files, "_readable_by", lambda *_: False)
    found = first(files.secret(stopped(f"cluster: {{secret_file: {path}}}")))
    assert (found.level, "cannot be read by" in found.text) == (PROBLEM, True)


def test_no_secret_where_none_is_needed(stopped):
    assert levels(files.secret(stopped())) == [OK]


@pytest.mark.parametrize(
    ("free", "inodes", "found"),
    [
        (DISK_FREE_BYTES, 1000, [OK]),
        (DISK_FREE_BYTES - 4096, 1000, [WARNING]),
        (files.FULL_SOON_BYTES - 4096, 1000, [PROBLEM]),
        (DISK_FREE_BYTES, files.INODES_MIN - 1, [OK, PROBLEM]),
    ],
)
def test_room_on_the_disk(stopped, monkeypatch, free, inodes, found):
    class Disk:
        f_frsize, f_bavail, f_files, f_favail = 4096, free // 4096, 10_000, inodes

    monkeypatch.setattr(os, "statvfs", lambda _: Disk)
    assert levels(files.space(stopped())) == found


def test_room_beside_what_cannot_be_seen(stopped, monkeypatch):
    monkeypatch.setattr(files, "_used_bytes", lambda _: None)
    assert "uses" not in only(files.space(stopped())).text


def test_room_for_a_second_copy(stopped, monkeypatch):
    """What there is may have to be there twice."""
    monkeypatch.setattr(files, "_used_bytes", lambda _: 1 << 50)
    assert levels(files.space(stopped())) == [WARNING]


@pytest.mark.parametrize(
    ("median", "high", "level"),
    [(0.001, 0.02, OK), (0.026, 0.09, WARNING), (0.001, 0.11, WARNING), (0.001, 0.51, PROBLEM)],
)
def test_how_long_a_sync_may_take(median, high, level):
    assert files.judged(median, high)[0] == level


def test_a_probe_of_the_disk_leaves_nothing(stopped, data):
    before = sorted(data.iterdir())
    assert "50 syncs in" in only(files.sync(stopped())).text
    assert sorted(data.iterdir()) == before


def test_a_probe_of_a_slow_disk_ends(data, monkeypatch):
    monkeypatch.setattr(files, "PROBE_SECONDS", 0.0)
    assert len(files.sync_times(data)) == 1


def test_a_disk_that_cannot_be_probed(stopped, monkeypatch):
    def full(_path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sync_times", full)
    found = only(files.sync(stopped()))
    assert (found.level, found.command[:5]) == (WARNING, "df -h")


# -- the machine --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "kept", "level"),
    [(0.0, True, PROBLEM), (2e9, True, OK), (2e9, False, WARNING), (2e9, None, OK)],
)
def test_the_clock(now, kept, level):
    assert levels(machine.own_clock(now, kept)) == [level]


def test_the_kernel_is_asked_without_changing_anything():
    assert machine.synchronised() in (True, False, None)


def test_clocks_of_the_others(stopped, monkeypatch):
    monkeypatch.setattr(machine, "own_clock", lambda *_: [])
    rest = [report("K2"), report("K3")]
    near = view(report("K1", group={"replicas": (replica("K2", clock_offset_ms=-12), replica("K3"))}), *rest)
    assert "at most 12 ms" in only(machine.clock(stopped(view=near))).text

    far = view(report("K1", group={"replicas": (replica("K2", clock_offset_ms=5000), replica("K3"))}), *rest)
    found = only(machine.clock(stopped(view=far)))
    assert (found.level, found.text) == (
        WARNING,
        "K2: its clock differs from the median of the voters' clocks by +5.0 s",
    )
    assert "clock" not in " ".join(each.text for each in cluster.cluster(stopped(view=far)))


@pytest.mark.parametrize(
    ("hard", "level"),
    [(10_256, OK), (10_255, WARNING), (128, WARNING), (127, PROBLEM), (resource.RLIM_INFINITY, OK)],
)
def test_open_files(stopped, monkeypatch, hard, level):
    """A node raises its soft limit to the hard one."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, hard))
    assert levels(machine.files(stopped())) == [level]


def test_open_files_of_the_process(stopped):
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = only(machine.files(stopped(pid=os.getpid())))
    assert f"process {os.getpid()} may open {soft} files" in found.text


@pytest.mark.parametrize(("limit", "level"), [(200 << 20, OK), (199 << 20, WARNING)])
def test_memory_of_a_running_node(stopped, limit, level):
    facts = Facts(memory_limit=limit, dataset_bytes_max=50 << 20)
    found = only(machine.memory(stopped(view=view(report("K1", facts=facts)))))
    assert (found.level, f"may use {limit >> 20} MiB, 50 MiB for data" in found.text) == (level, True)


def test_memory_of_a_process_started_from_here(stopped, monkeypatch):
    monkeypatch.setattr(machine, "memory_limits", lambda: [MemoryLimit(64 << 20, "memory.max of x")])
    found = only(machine.memory(stopped()))
    assert (found.level, "may use 64 MiB (memory.max of x)" in found.text) == (WARNING, True)


# -- the network --------------------------------------------------------------------------------------


@pytest.fixture
def port():
    """One that this process listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def peer_port(node, port, interface="127.0.0.1"):
    """As configured to have this port for peers."""
    peer = dataclasses.replace(node.config.peer, listen=f"tcp:{port}:interface={interface}")
    return dataclasses.replace(node, config=dataclasses.replace(node.config, peer=peer))


def test_a_port_that_is_taken_or_free(stopped, port):
    taken, chosen, none = network.ports(peer_port(stopped(), port))
    assert (taken.level, taken.command) == (PROBLEM, f"ss -ltnp 'sport = :{port}'")
    assert (chosen.level, none.level) == (OK, OK)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        free = unused.getsockname()[1]
    assert first(network.ports(peer_port(stopped(), free))).text == f"peer.listen: port {free} is free"


def test_an_address_that_this_machine_does_not_have(stopped):
    found = first(network.ports(peer_port(stopped(), 40_009, "192.0.2.1")))
    assert found.text == "peer.listen: this machine has no address 192.0.2.1"


def test_a_unix_socket_of_a_stopped_node(stopped, tmp_path):
    """Free, left by a dead process, in use, or something else."""
    path = tmp_path / "client.sock"

    def found(where=path):
        listen = f'client: {{listen: "unix:{where}", advertise: "h:1"}}\n'
        text = SECTIONS.format(data=tmp_path / "data").replace(
            'client: {listen: "tcp:0:interface=127.0.0.1", advertise: "127.0.0.1:2"}\n', listen
        )
        _, client, _ = network.ports(Subject("K1.yaml", parse(text, "K1.yaml"), None))
        return client.level, client.text

    assert found() == (OK, f"client.listen: {path} is free")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert found() == (
            PROBLEM,
            f"client.listen: {path} is in use by another process: ss -xlp | grep {path}",
        )
    assert found()[0] == OK
    assert "left by a dead process" in found()[1]
    assert path.exists()
    assert found(tmp_path) == (
        PROBLEM,
        f"client.listen: {tmp_path} exists and is not a socket: ls -ld {tmp_path}",
    )
    assert found(tmp_path / "no" / "s") == (PROBLEM, f"client.listen: there is no folder {tmp_path}/no")


def test_a_port_of_a_running_node(stopped, port, monkeypatch):
    own = peer_port(stopped(pid=os.getpid()), port)
    assert first(network.ports(own)).text == f"peer.listen: port {port} is held by the node"
    monkeypatch.setattr(network, "_sockets_of", lambda _: {-1})
    assert "held by a process other than the node" in first(network.ports(own)).text
    monkeypatch.setattr(network, "_sockets_of", lambda _: None)
    assert first(network.ports(own)).text == f"peer.listen: port {port} is open"
    monkeypatch.setattr(network, "listening", lambda _: set())
    assert first(network.ports(own)).level == PROBLEM


MEMBERS = 'cluster: {members: {K1: "127.0.0.1:1", K2: "127.0.0.1:3", K3: "127.0.0.1:4"}}'


def dialled(monkeypatch, **errors):
    """Who was dialled, in a list that fills; `port3=error` for those who cannot be."""
    calls = []

    def dial(address):
        calls.append(address)
        if error := errors.get(f"port{address[-1]}"):
            raise error

    monkeypatch.setattr(network, "_dial", dial)
    return calls


def test_peers_are_dialled_while_the_node_is_stopped(stopped, monkeypatch):
    calls = dialled(monkeypatch)
    assert levels(network.peers(stopped(MEMBERS))) == [OK, OK]
    assert sorted(calls) == ["127.0.0.1:3", "127.0.0.1:4"]


def test_peers_that_cannot_be_reached(stopped, monkeypatch):
    """With a majority left a warning; what to do goes by the error."""
    refused = ConnectionRefusedError(111, "Connection refused")
    dialled(monkeypatch, port3=refused)
    first, second = network.peers(stopped(MEMBERS))
    assert (first.level, first.command) == (WARNING, "systemctl start kraft@K2, on its machine")
    assert second.level == OK

    dialled(monkeypatch, port3=refused, port4=TimeoutError("timed out"))
    first, second = network.peers(stopped(MEMBERS))
    assert (first.level, second.level) == (PROBLEM, PROBLEM)
    assert second.command == "nc -vz 127.0.0.1 4; then its firewall"


def test_a_peer_that_is_linked_is_not_dialled(stopped, monkeypatch):
    calls = dialled(monkeypatch)
    own = without("K3", report("K1", members=(member("K1"), member("K2"), member("K3"))))
    node = stopped(pid=5, view=view(own, report("K2"), silent("K3")))
    linked, reached = network.peers(node)
    assert (linked.text, reached.text) == ("K2 is connected (K2:1)", "K3 can be reached (K3:1)")
    assert calls == ["K3:1"]


def test_a_node_alone_has_no_peers(stopped):
    assert only(network.peers(stopped())).text == "there are no other members"


# -- the cluster --------------------------------------------------------------------------------------


def test_a_stopped_node(stopped):
    found = only(cluster.node(stopped()))
    assert (found.level, found.text) == (OK, "K1 is not running")
    assert only(cluster.cluster(stopped())).level == OK
    assert only(cluster.versions(stopped())).level == OK


def test_a_node_that_does_not_answer(stopped):
    without_http = only(cluster.node(stopped(pid=5)))
    assert (without_http.level, "http.listen is empty" in without_http.text) == (WARNING, True)
    config = parse(SECTIONS.format(data="d").replace('http: {listen: ""}\n', HTTP), "K1.yaml")
    found = only(cluster.node(Subject("K1.yaml", config, 5, silence="timed out")))
    assert (found.level, found.text) == (PROBLEM, "K1 runs as process 5, but does not answer: timed out")


def test_a_cluster_that_is_well(stopped):
    seen = view(report("K1"), report("K2"), report("K3"))
    assert only(cluster.cluster(stopped(view=seen))).text == (
        "All well: 3 nodes answer and know a leader; K1 leads group 0 in term 7"
    )
    assert "runs as process 5, up 1 min 30 s, serving" in only(cluster.node(stopped(pid=5, view=seen))).text


def test_what_the_page_finds_is_found(stopped):
    """Bad is a problem; what is under way is well."""
    seen = view(
        report("K1", group={"learners": ("K4",), "joint": True}),
        report("K2", group={"fenced": True}),
        silent("K3"),
    )
    found = {each.text.partition(":")[0]: each.level for each in cluster.cluster(stopped(view=seen))}
    assert found == {"K2": PROBLEM, "K3": WARNING, "K4": OK, "group 0": OK}


def test_versions(stopped, monkeypatch):
    monkeypatch.setattr(cluster, "__version__", "0.1")
    same = view(report("K1"), report("K2"))
    assert only(cluster.versions(stopped(view=same))).text == "all nodes that answer (2) run 0.1"

    skewed = view(report("K1"), report("K2", version="0.2"))
    found = only(cluster.versions(stopped(view=skewed)))
    assert (found.level, found.text[:26]) == (WARNING, "K2 runs 0.2, K1 runs 0.1: ")
    assert "version" not in " ".join(each.text for each in cluster.cluster(stopped(view=skewed)))

    held = view(report("K1", machine_version=1, machine_version_supported=2), report("K2"))
    found = first(cluster.versions(stopped(view=held)))
    assert (found.level, found.text[:37]) == (WARNING, "machine version 1 is in force, not 2:")

    monkeypatch.setattr(cluster, "__version__", "0.3")
    assert "0.3 is installed" in first(cluster.versions(stopped(view=same))).text


def test_storage_errors_are_told(stopped, data, monkeypatch):
    def fails(_path):
        raise StorageError("broken")

    monkeypatch.setattr(files, "inspect", fails)
    found = only(files.directory(stopped()))
    assert (found.level, found.text) == (PROBLEM, "broken")
