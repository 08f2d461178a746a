"""The files of a cluster on this machine: one folder for each node, written once.

The YAML files are the only memory: size and ports of an existing cluster are read from them, so a user may
edit them. A file `removed` in a node's folder says that the cluster has let the node go. Nothing here starts
a process.
"""

import socket
import sysconfig
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kraft.cli.failure import Failure
from kraft.config import Config, ConfigError, load

NODES_MAX = 9
NODES_DEFAULT = 3
REMOVED = "removed"
BASE_PORT_DEFAULT = 10_000
BASE_PORT_MAX = 65_535 - 20 - NODES_MAX


@dataclass(frozen=True, slots=True)
class LocalNode:
    """One node: its folder, and its ports on 127.0.0.1."""

    id: str
    folder: Path
    peer_port: int
    client_port: int
    http_port: int
    standby: bool = False  # waits to be added, while it belongs to no cluster

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
    def removed(self) -> Path:
        """Is there when the node belongs to the cluster no more."""
        return self.folder / REMOVED

    @property
    def data(self) -> Path:
        """Its log and state."""
        return self.folder / "data"

    @property
    def command(self) -> list[str]:
        """Starts the node in the foreground, from any folder."""
        return [str(twistd()), "-n", f"--pidfile={self.pidfile}", "kraft", "--config", str(self.config)]

    def ports(self) -> Iterator[tuple[str, int]]:
        """What each port is for, and its number."""
        yield "peers", self.peer_port
        yield "clients", self.client_port
        yield "HTTP", self.http_port


def find_or_create(folder: Path, count: int | None, base_port: int | None) -> list[LocalNode]:
    """The nodes that `folder` holds, or new ones written there; None stands for an option that was not given.

    A founding node whose folder was deleted gets its file again. As its identity is gone, it waits for the
    cluster to take it back; only where nobody has any data it is a founder again.
    """
    files = _files(folder)
    if not files:
        return write(lay_out(folder, count or NODES_DEFAULT, base_port or BASE_PORT_DEFAULT))
    founders, held_base = _founded(files)
    names = {file.parent.name for file in files} | set(founders)
    everything = lay_out(folder, NODES_MAX, held_base)
    nodes = [node for node in everything if node.id in names and not node.removed.exists()]
    if not nodes:
        raise Failure(f"all nodes in {folder} were removed from their cluster: nothing to start")
    _refuse_change(
        folder,
        f"--nodes {len(nodes)}",
        count in (None, len(nodes)),
        f"not {count}: leave --nodes out; `kraft demo --add` adds a node, KRAFT REMOVE takes one away",
    )
    _refuse_other_ports(folder, held_base, base_port)
    formed = any(node.data.exists() for node in nodes)
    lost = [replace(node, standby=formed) for node in nodes if not node.config.exists()]
    write(lost, among=[node for node in everything if node.id in founders])
    return [_as_configured(node) for node in nodes]


def find(folder: Path, base_port: int | None = None) -> list[LocalNode]:
    """The nodes of the cluster in `folder`, which has to exist, as far as they have a file."""
    files = _files(folder)
    if not files:
        raise Failure(f"{folder} holds no cluster: make one with `kraft demo --dir {folder}`")
    _, base = _founded(files)
    _refuse_other_ports(folder, base, base_port)
    nodes = lay_out(folder, NODES_MAX, base)
    return [_as_configured(node) for node in nodes if node.config.exists() and not node.removed.exists()]


def present(folder: Path) -> set[str]:
    """The ids of the nodes that `find` would give, without a look into their files."""
    return {file.parent.name for file in _files(folder) if not (file.parent / REMOVED).exists()}


def create_standby(folder: Path, members: Collection[str] = ()) -> LocalNode:
    """The next node: the first whose folder is not there, with a file that lets it wait to be added.

    Not one of `members`: whose folder is lost is to be replaced, not added.
    """
    _, base = _founded(_files(folder))
    for node in lay_out(folder, NODES_MAX, base):
        if not node.folder.exists() and node.id not in members:
            standby = replace(node, standby=True)
            refuse_taken_ports([standby])
            return write([standby])[0]
    raise Failure(
        f"{folder} has folders for {NODES_MAX} nodes, and no more have ports;"
        " the folder of a removed node (with a file `removed` in it) may be deleted"
    )


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("K[1-9]/kraft.yaml"))


def _founded(files: list[Path]) -> tuple[tuple[str, ...], int]:
    """The ids of the nodes that the cluster began with, as far as a file still tells, and the base port."""
    for file in files:
        members = _load(file).cluster.members
        if members and "K1" not in members:
            raise Failure(f"{file} does not list K1 as a member: not a cluster of this command")
        if members:
            return tuple(members), int(members["K1"].rpartition(":")[2]) - 1
    config = _load(files[0])
    return (), int(config.peer.advertise.rpartition(":")[2]) - int(files[0].parent.name[1:])


def _refuse_other_ports(folder: Path, held: int, wanted: int | None) -> None:
    _refuse_change(
        folder,
        f"--base-port {held}",
        wanted in (None, held),
        f"not {wanted}, and that does not change: leave --base-port out, or name a new folder with --dir",
    )


def _refuse_change(folder: Path, held: str, same: bool, otherwise: str) -> None:
    if not same:
        raise Failure(f"{folder} holds a cluster of {held}, {otherwise}")


def lay_out(folder: Path, count: int, base_port: int) -> list[LocalNode]:
    """The nodes of a cluster: folders, and ports by the rule base + i, + 10 + i, + 20 + i."""
    return [
        LocalNode(f"K{i}", folder / f"K{i}", base_port + i, base_port + 10 + i, base_port + 20 + i)
        for i in range(1, count + 1)
    ]


def write(nodes: list[LocalNode], among: list[LocalNode] | None = None) -> list[LocalNode]:
    """Write the configuration files of `nodes`, members of the cluster `among` (themselves); returns them."""
    try:
        for node in nodes:
            node.folder.mkdir(parents=True, exist_ok=True)
            # In one step: a running demo starts whatever it finds.
            new = node.config.with_suffix(".new")
            new.write_text(render_config(node, among or nodes))
            new.replace(node.config)
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}") from error
    return nodes


def render_config(node: LocalNode, members: Iterable[LocalNode]) -> str:
    """The YAML of one node. Paths in it are relative to it, so the cluster's folder may be moved."""
    listed = "".join(f'    {member.id}: "127.0.0.1:{member.peer_port}"\n' for member in members)
    cluster = "  standby: true\n" if node.standby else f"  members:\n{listed}"
    return f"""\
# Written once by `kraft demo`; yours to edit. `kraft check-config` tells whether it is still right.
node:
  id: {node.id}
  data: data
cluster:
{cluster}peer:
  listen: "tcp:{node.peer_port}:interface=127.0.0.1"
client:
  listen: "tcp:{node.client_port}:interface=127.0.0.1"
http:
  listen: "tcp:{node.http_port}:interface=127.0.0.1"
"""


def refuse_taken_ports(nodes: Iterable[LocalNode]) -> None:
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


def _as_configured(node: LocalNode) -> LocalNode:
    """The node with the ports of its file, which may have been edited."""
    config = _load(node.config)
    peer, client, http = (
        int(section.advertise.rpartition(":")[2]) for section in (config.peer, config.client, config.http)
    )
    standby = config.cluster.standby
    return replace(node, peer_port=peer, client_port=client, http_port=http, standby=standby)
