"""The files of a cluster on this machine: one folder for each node, written once.

The YAML files are the only memory: size and ports of an existing cluster are read from them, so a user may
edit them. Nothing here starts a process.
"""

import socket
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kraft.cli.failure import Failure
from kraft.config import Config, ConfigError, load

NODES_MAX = 9
NODES_DEFAULT = 3
BASE_PORT_DEFAULT = 10_000
BASE_PORT_MAX = 65_535 - 20 - NODES_MAX


@dataclass(frozen=True, slots=True)
class Node:
    """One node: its folder, and its ports on 127.0.0.1."""

    id: str
    folder: Path
    peer_port: int
    client_port: int
    http_port: int

    @property
    def config(self) -> Path:
        """Its configuration file."""
        return self.folder / "kraft.yaml"

    @property
    def pidfile(self) -> Path:
        """Where twistd writes its process id."""
        return self.folder / "twistd.pid"

    @property
    def log(self) -> Path:
        """What the process printed, of all runs."""
        return self.folder / "kraft.log"

    @property
    def command(self) -> list[str]:
        """Starts the node in the foreground, from any folder."""
        return [str(twistd()), "-n", f"--pidfile={self.pidfile}", "kraft", "--config", str(self.config)]

    def ports(self) -> Iterator[tuple[str, int]]:
        """What each port is for, and its number."""
        yield "peers", self.peer_port
        yield "clients", self.client_port
        yield "HTTP", self.http_port


def find_or_create(folder: Path, count: int | None, base_port: int | None) -> list[Node]:
    """The nodes that `folder` holds, or new ones written there; None stands for an option that was not given.

    A node whose folder was removed gets its file again: its identity is gone, its place is not.
    """
    files = sorted(folder.glob("K[1-9]/kraft.yaml"))
    if not files:
        return write(lay_out(folder, count or NODES_DEFAULT, base_port or BASE_PORT_DEFAULT))
    members = _load(files[0]).cluster.members
    held = len(members)
    held_base = int(members["K1"].rpartition(":")[2]) - 1 if "K1" in members else None
    if held_base is None:
        raise Failure(f"{files[0]} does not list K1 as a member: not a cluster of this command")
    _refuse_change(folder, "--nodes", held, count)
    _refuse_change(folder, "--base-port", held_base, base_port)
    nodes = lay_out(folder, held, held_base)
    write([node for node in nodes if not node.config.exists()], among=nodes)
    return [_as_configured(node) for node in nodes]


def _refuse_change(folder: Path, option: str, held: int, wanted: int | None) -> None:
    if wanted not in (None, held):
        raise Failure(
            f"{folder} holds a cluster made with {option} {held}, not {wanted}, and that does not change:"
            f" leave {option} out, or name a new folder with --dir"
        )


def lay_out(folder: Path, count: int, base_port: int) -> list[Node]:
    """The nodes of a cluster: folders, and ports by the rule base + i, + 10 + i, + 20 + i."""
    return [
        Node(f"K{i}", folder / f"K{i}", base_port + i, base_port + 10 + i, base_port + 20 + i)
        for i in range(1, count + 1)
    ]


def write(nodes: list[Node], among: list[Node] | None = None) -> list[Node]:
    """Write the configuration files of `nodes`, members of the cluster `among` (themselves); returns them."""
    try:
        for node in nodes:
            node.folder.mkdir(parents=True, exist_ok=True)
            node.config.write_text(render_config(node, among or nodes))
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}") from error
    return nodes


def render_config(node: Node, members: Iterable[Node]) -> str:
    """The YAML of one node. Paths in it are relative to it, so the cluster's folder may be moved."""
    listed = "".join(f'    {member.id}: "127.0.0.1:{member.peer_port}"\n' for member in members)
    return f"""\
# Written once by `kraft demo`; yours to edit. `kraft check-config` tells whether it is still right.
node:
  id: {node.id}
  data: data
cluster:
  members:
{listed}peer:
  listen: "tcp:{node.peer_port}:interface=127.0.0.1"
client:
  listen: "tcp:{node.client_port}:interface=127.0.0.1"
http:
  listen: "tcp:{node.http_port}:interface=127.0.0.1"
"""


def refuse_taken_ports(nodes: Iterable[Node]) -> None:
    """Fail, naming the port, before anything is started."""
    for node in nodes:
        for use, port in node.ports():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    raise Failure(
                        f"port {port} ({node.id}, {use}): {error.strerror}; perhaps another demo is running:"
                        f" stop it, or use --dir and --base-port for a second one"
                    ) from error


def twistd() -> Path:
    """The `twistd` of the Python that runs this command: another one may not know kraft."""
    return Path(sysconfig.get_path("scripts")) / "twistd"


def _load(path: Path) -> Config:
    try:
        return load(str(path))
    except ConfigError as error:
        raise Failure(str(error)) from error


def _as_configured(node: Node) -> Node:
    """The node with the ports of its file, which may have been edited."""
    config = _load(node.config)
    peer, client, http = (
        int(section.advertise.rpartition(":")[2]) for section in (config.peer, config.client, config.http)
    )
    return replace(node, peer_port=peer, client_port=client, http_port=http)
