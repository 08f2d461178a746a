"""Checks of the node's own ports and of its peers'."""

import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from kraft.cli.checks.result import OK, PROBLEM, WARNING, Bounded, CheckResult
from kraft.cli.checks.subject import Subject
from kraft.listen_address import ListenAddress, is_wildcard, split_address, split_endpoint
from kraft.process.refusal import explain
from kraft.process.unix_socket import SocketInUse, is_stale
from kraft.web import next_command

CONNECT_SECONDS = 2.0  # enough for a round trip around the world with a lost packet
RESOLVE_SECONDS = 1.0  # on top of that, to resolve a name
_LISTENING = "0A"  # in /proc/net/tcp
_REFUSED = "Connection refused"
_SHARED = "client.shared_listen"


# -- our own ------------------------------------------------------------------------------------------


def ports(subject: Subject) -> Iterator[CheckResult]:
    """Whether the ports are free, or if the node runs, held by it."""
    config = subject.config
    if subject.hidden:
        yield CheckResult(OK, "not checked, because it is unknown whether the node runs")
        return
    for option, listen in config.endpoints.items():
        listener = split_endpoint(listen)
        if listener.kind == "unix" and not subject.running:
            yield _free_path(option, listener.path)
        elif listener.port is None:
            yield CheckResult(OK, f"{option} {listen} is not a port, and is not checked")
        elif not listener.port:
            yield CheckResult(OK, f"{option} {listen} is chosen when the node starts")
        else:
            yield _held(subject, option, listener.port) if subject.running else _free(option, listener)
    if not config.http.listen:
        yield CheckResult(OK, "http.listen is empty: no metrics, no status page")


def _free(option: str, listener: ListenAddress) -> CheckResult:
    """Whether the node could listen there. A shared port may be in use by another node of the same user."""
    family = socket.AF_INET6 if listener.kind == "tcp6" or ":" in listener.interface else socket.AF_INET
    host = "" if is_wildcard(listener.interface) else listener.interface
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the node does
            if option == _SHARED:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            probe.bind((host, listener.port))
    except OSError as error:
        text, command = explain(listener, error)
        return CheckResult(PROBLEM, f"{option}: {text}", command)
    return CheckResult(OK, f"{option}: port {listener.port} is free")


def _free_path(option: str, path: str) -> CheckResult:
    folder = Path(path).parent
    if not folder.is_dir():
        return CheckResult(PROBLEM, f"{option}: there is no folder {folder}", f"mkdir {folder}")
    try:
        left = is_stale(path)
    except SocketInUse as error:
        return CheckResult(PROBLEM, f"{option}: {error}", f"ls -ld {path}")
    was = "was left by a dead process, and the next start replaces it" if left else "is free"
    return CheckResult(OK, f"{option}: {path} {was}")


def _held(subject: Subject, option: str, port: int) -> CheckResult:
    sockets = listening(port)
    if not sockets:
        text = f"{option}: port {port} is not open yet: a node opens it after it has replayed its log"
        return CheckResult(PROBLEM, text, f"journalctl -u {subject.unit} -n 50")
    own = _sockets_of(subject.pid)
    if own is None:
        return CheckResult(OK, f"{option}: port {port} is open")
    if sockets & own:
        return CheckResult(OK, f"{option}: port {port} is held by the node")
    text = f"{option}: port {port} is held by a process other than the node"
    return CheckResult(PROBLEM, text, f"ss -ltnp 'sport = :{port}'")


def listening(port: int) -> set[int]:
    """Inodes of the sockets that listen on this port, on any interface."""
    found = set()
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net", table)
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            fields = line.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(int(fields[9]))
    return found


def _sockets_of(pid: int | None) -> set[int] | None:
    """Inodes of the sockets of a process; None if this user may not see them."""
    if not pid:
        return None
    found = set()
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            target = str(link.readlink())
            if target.startswith("socket:["):
                found.add(int(target[8:-1]))
    except FileNotFoundError:  # closed meanwhile
        return found or None
    except OSError:
        return None
    return found


# -- the peers' ---------------------------------------------------------------------------------------


def peers(subject: Subject) -> Iterator[CheckResult]:
    """Whether each peer is connected to the node, or at least reachable by TCP.

    A connected peer is not dialled, because it would log a stranger.
    """
    addresses, linked = _addresses(subject)
    if not addresses:
        yield CheckResult(OK, "there are no other members")
        return
    for id_ in sorted(linked):
        yield CheckResult(OK, f"{id_} is connected ({addresses[id_]})")
    asked = {id_: Bounded(partial(_dial, addresses[id_])) for id_ in sorted(addresses) if id_ not in linked}
    deadline = time.monotonic() + CONNECT_SECONDS + RESOLVE_SECONDS
    errors = {id_: _error(call, deadline) for id_, call in asked.items()}
    there = 1 + len(addresses) - sum(map(bool, errors.values()))
    level = WARNING if 2 * there > len(addresses) + 1 else PROBLEM
    for id_, error in errors.items():
        if not error:
            yield CheckResult(OK, f"{id_} can be reached ({addresses[id_]})")
            continue
        host, port = split_address(addresses[id_])
        look = _start(subject, id_) if error == _REFUSED else f"nc -vz {host} {port}; then its firewall"
        yield CheckResult(level, f"{id_} cannot be reached at {addresses[id_]}: {error}", look)


def _start(subject: Subject, id_: str) -> str:
    """What starts a peer: as the page says if this node answers, else as a package would have it."""
    view = subject.view
    answer = next((each for each in view.answers if each.id == id_), None) if view is not None else None
    if view is None or answer is None:
        return f"systemctl start kraft@{id_}, on its machine"
    command = next_command.start(view, answer) or "start it again"
    return ", ".join(filter(None, (command, next_command.place(view, answer))))


def _addresses(subject: Subject) -> tuple[dict[str, str], set[str]]:
    """Peer addresses by id, and the ids of connected peers, from the node if it answers, else the file."""
    if subject.view is None or not subject.view.own.status.members:
        members = subject.config.cluster.members
        return {id_: address for id_, address in members.items() if id_ != subject.id}, set()
    others = [member for member in subject.view.own.status.members if member.id != subject.id]
    return {each.id: each.peer for each in others}, {each.id for each in others if each.connected}


def _dial(address: str) -> None:
    socket.create_connection(split_address(address), CONNECT_SECONDS).close()


def _error(call: Bounded[None], deadline: float) -> str:
    try:
        call.result(deadline)
    except TimeoutError:
        return f"no answer within {CONNECT_SECONDS:g} s"
    except OSError as error:
        return error.strerror or str(error)
    return ""
