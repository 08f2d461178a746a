"""The files of a cluster on this machine: one directory per node, written once.

The YAML files are the only record: the size and ports of an existing cluster are read from them, so a user
may edit them. A file `removed` in the directory of a node means that it was removed from the cluster. Nothing
here starts a process.
"""

import contextlib
import errno
import os
import shlex
import socket
import sysconfig
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kraft.cli.certificate_folder import CLUSTER_DEFAULT, DAYS_DEFAULT, CertificateFolder, check_libraries
from kraft.cli.failure import Failure
from kraft.cli.http_access import HttpAccess
from kraft.cli.tls_options import TlsOptions
from kraft.config import Config, ConfigError, load
from kraft.process.refusal import unprivileged_port

if TYPE_CHECKING:
    import ssl

NODES_MAX = 9
NODES_DEFAULT = 3
REMOVED = "removed"
CERTIFICATES = "certs"  # the folder of the CA, beside those of the nodes
BASE_PORT_DEFAULT = 10_000
BASE_PORT_MAX = 65_535 - 20 - NODES_MAX
BASE_PORT_STEP = 1000  # between the base ports that are proposed


@dataclass(frozen=True, slots=True)
class LocalNode:
    """One node: its directory, its ports on 127.0.0.1, and the CA of its certificates (None: no TLS)."""

    id: str
    folder: Path
    peer_port: int
    client_port: int
    http_port: int
    standby: bool = False  # waits to be added, unless it belongs to a cluster already
    groups: int = 1  # with which it forms a cluster
    ca: Path | None = None

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "kraft.yaml"

    @property
    def pidfile(self) -> Path:
        """The file to which twistd writes its process id."""
        return self.folder / "twistd.pid"

    @property
    def log(self) -> Path:
        """The output of the process, of all runs."""
        return self.folder / "kraft.log"

    @property
    def removed(self) -> Path:
        """A file that exists if the node was removed from the cluster."""
        return self.folder / REMOVED

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    @property
    def command(self) -> list[str]:
        """The command that starts the node in the foreground, from any directory."""
        return [str(twistd()), "-n", f"--pidfile={self.pidfile}", "kraft", "--config", str(self.config)]

    @property
    def typed(self) -> str:
        """The same command as a person would type it in the present directory."""
        pidfile = f"--pidfile={shown(self.pidfile)}"
        return shlex.join([shown(twistd()), "-n", pidfile, "kraft", "--config", shown(self.config)])

    def ports(self) -> Iterator[tuple[str, int]]:
        """(purpose, number) of each port."""
        yield "peers", self.peer_port
        yield "clients", self.client_port
        yield "HTTP", self.http_port


def shown(path: Path) -> str:
    """A path as a person would type it: relative if it is below the working directory."""
    with contextlib.suppress(ValueError):
        return str(path.absolute().relative_to(Path.cwd()))
    return str(path)


def find_or_create(
    folder: Path,
    count: int | None,
    base_port: int | None,
    groups: int | None = None,
    *,
    tls: bool = False,
) -> list[LocalNode]:
    """The nodes in `folder`, or new ones if there are none; None means that an option was not given.

    Raises Failure, and then nothing was written, if a port of theirs is in use.

    A founding node whose directory was deleted gets its file again. Its identity is lost, so it waits to be
    added back; only if no node has any data is it a founder again.
    """
    files = _files(folder)
    if not files:
        if tls:
            check_libraries("demo --tls")
        new = lay_out(folder, count or NODES_DEFAULT, base_port or BASE_PORT_DEFAULT, groups or 1, tls=tls)
        refuse_taken_ports(new, _other_base(folder, len(new)))
        return write(new)
    founders, held_base = _founded(files)
    names = {file.parent.name for file in files} | set(founders)
    held_groups, held_tls = max(_load(file).cluster.groups for file in files), _secured(files)
    everything = lay_out(folder, NODES_MAX, held_base, held_groups, tls=held_tls)
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
    _refuse_change(
        folder,
        f"--groups {held_groups}",
        groups in (None, held_groups),
        f"not {groups}, and that does not change: leave --groups out, or name a new folder with --dir",
    )
    if tls and not held_tls:
        raise Failure(
            f"{folder} holds a cluster without TLS: leave --tls out, name a new folder with --dir,"
            " or edit the files of its nodes (docs/tls.md)"
        )
    formed = any(node.data.exists() for node in nodes)
    lost = [replace(node, standby=formed) for node in nodes if not node.config.exists()]
    found = [_as_configured(node) for node in nodes if node.config.exists()]
    refuse_taken_ports([*found, *lost], _elsewhere(folder, formed))
    write(lost, among=[node for node in everything if node.id in founders])
    return [_as_configured(node) for node in nodes]


def _other_base(folder: Path, count: int) -> str:
    """What to do if a port of a new cluster is in use."""
    start = BASE_PORT_DEFAULT + BASE_PORT_STEP
    free = (base for base in range(start, BASE_PORT_MAX, BASE_PORT_STEP) if _all_free(folder, count, base))
    base = next(free, 0)
    return f"use other ports: --base-port {base}" if base else "use other ports: --base-port P"


def _all_free(folder: Path, count: int, base: int) -> bool:
    nodes = lay_out(folder, count, base)
    return not any(port_error(port) for node in nodes for _, port in node.ports())


def _elsewhere(folder: Path, formed: bool) -> str:
    """What to do if a port of the cluster in `folder` is in use: its ports do not change."""
    again = f"if this demo runs already, stop it first, or make a second one: --dir {folder}-2 --base-port P"
    return again if formed else f"{again}; {folder} has no data yet: rm -r {folder} starts afresh"


def find(folder: Path, base_port: int | None = None) -> list[LocalNode]:
    """The nodes of the existing cluster in `folder` that have a configuration file."""
    files = _files(folder)
    if not files:
        raise Failure(f"{folder} holds no cluster: make one with `kraft demo --dir {folder}`")
    _, base = _founded(files)
    _refuse_other_ports(folder, base, base_port)
    nodes = lay_out(folder, NODES_MAX, base)
    return [_as_configured(node) for node in nodes if node.config.exists() and not node.removed.exists()]


def present(folder: Path) -> set[str]:
    """The ids of the nodes that `find` returns, without reading their files."""
    return {file.parent.name for file in _files(folder) if not (file.parent / REMOVED).exists()}


def create_standby(folder: Path, members: Collection[str] = ()) -> LocalNode:
    """Write the files of the next node, which will wait to be added: the first whose directory does not
    exist.

    It is none of `members`: a member whose directory is lost must be replaced, not added.
    """
    files = _files(folder)
    _, base = _founded(files)
    for node in lay_out(folder, NODES_MAX, base, tls=_secured(files)):
        if not node.folder.exists() and node.id not in members:
            standby = replace(node, standby=True)
            refuse_taken_ports([standby], f"free it, and repeat `kraft demo --add --dir {folder}`")
            return write([standby])[0]
    raise Failure(
        f"{folder} has folders for {NODES_MAX} nodes, and no more have ports;"
        " the folder of a removed node (with a file `removed` in it) may be deleted"
    )


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("K[1-9]/kraft.yaml"))


def _founded(files: list[Path]) -> tuple[tuple[str, ...], int]:
    """The ids of the founding nodes, if a file still has them, and the base port."""
    for file in files:
        members = _load(file).cluster.members
        if members and "K1" not in members:
            raise Failure(f"{file} does not list K1 as a member: not a cluster of this command")
        if members:
            return tuple(members), int(members["K1"].rpartition(":")[2]) - 1
    config = _load(files[0])
    return (), int(config.peer.advertise.rpartition(":")[2]) - int(files[0].parent.name[1:])


def _secured(files: Iterable[Path]) -> bool:
    """Whether the cluster has TLS."""
    return any(_load(file).http.tls != "off" for file in files)


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


def lay_out(
    folder: Path, count: int, base_port: int, groups: int = 1, *, tls: bool = False
) -> list[LocalNode]:
    """The nodes of a cluster: directories, and the ports base + i, base + 10 + i, base + 20 + i."""
    ca = folder / CERTIFICATES / "ca.crt" if tls else None
    return [
        LocalNode(
            f"K{i}",
            folder / f"K{i}",
            base_port + i,
            base_port + 10 + i,
            base_port + 20 + i,
            groups=groups,
            ca=ca,
        )
        for i in range(1, count + 1)
    ]


def write(nodes: list[LocalNode], among: list[LocalNode] | None = None) -> list[LocalNode]:
    """Write the configuration files of `nodes`, whose cluster has the members `among` (by default
    themselves).

    Returns `nodes`.
    """
    made: list[Path] = []
    try:
        for node in nodes:
            made += [folder for folder in (node.folder.parent, node.folder) if not folder.exists()]
            node.folder.mkdir(parents=True, exist_ok=True)
            made += [file for file in _certificate_files(node) if not file.exists()]
            _certify(node)
            # Atomically, because a running demo starts every node that it finds.
            new = node.config.with_suffix(".new")
            made += [new, node.config]
            new.write_text(render_config(node, among or nodes))
            new.replace(node.config)
    except OSError as error:
        _remove(made)
        raise Failure(f"{error.filename or nodes[0].folder.parent}: {error.strerror}") from error
    return nodes


def _certificate_files(node: LocalNode) -> list[Path]:
    """The folder of the CA and the files in it that the node needs."""
    if node.ca is None:
        return []
    names = ("ca.crt", "ca.key", "ca.crl", f"{node.id}.crt", f"{node.id}.key")
    return [node.ca.parent, *(node.ca.with_name(name) for name in names)]


def _certify(node: LocalNode) -> None:
    """Make the certificate of a node with TLS, and the CA, unless they are there."""
    if node.ca is None:
        return
    certificates = CertificateFolder(node.ca.parent, datetime.now(UTC))
    if certificates.exists:
        certificates.open()
    else:
        certificates.create(CLUSTER_DEFAULT)
    if not node.ca.with_name(f"{node.id}.crt").exists():
        certificates.make({node.id: []}, (), DAYS_DEFAULT)


def security(nodes: Iterable[LocalNode]) -> "ssl.SSLContext | None":
    """TLS to the ports of these nodes; None without. Raises Failure."""
    ca = next((node.ca for node in nodes if node.ca is not None), None)
    return None if ca is None else TlsOptions(str(ca)).context()


def http_access(nodes: Iterable[LocalNode]) -> HttpAccess:
    """With what the HTTP ports of these nodes are asked. Raises Failure."""
    return HttpAccess(security(nodes))


def _remove(made: list[Path]) -> None:
    """Take back what was written before an error, so that the next try is a first one."""
    for path in reversed(made):
        with contextlib.suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()


def render_config(node: LocalNode, members: Iterable[LocalNode]) -> str:
    """The YAML of one node. Its paths are relative, so the directory of the cluster may be moved."""
    listed = "".join(f'    {member.id}: "127.0.0.1:{member.peer_port}"\n' for member in members)
    groups = f"  groups: {node.groups}\n" if node.groups > 1 else ""
    cluster = "  standby: true\n" if node.standby else f"  members:\n{listed}{groups}"
    own, tls = f"../{CERTIFICATES}/{node.id}", "" if node.ca is None else "\n  tls: required"
    ca = f"../{CERTIFICATES}/ca"
    files = f"tls: {{certificate: {own}.crt, key: {own}.key, ca: {ca}.crt, crl: {ca}.crl}}\n" if tls else ""
    return f"""\
# Written once by `kraft demo`; you may edit it. `kraft check-config` checks it.
node:
  id: {node.id}
  data: data
cluster:
{cluster}{files}peer:
  listen: "tcp:{node.peer_port}:interface=127.0.0.1"{tls}
client:
  listen: "tcp:{node.client_port}:interface=127.0.0.1"{tls}
http:
  listen: "tcp:{node.http_port}:interface=127.0.0.1"{tls}
"""


def refuse_taken_ports(nodes: Iterable[LocalNode], advice: str) -> None:
    """Raise Failure with `advice` if a port of the nodes cannot be opened."""
    for node in nodes:
        for use, port in node.ports():
            if error := port_error(port):
                if error.errno == errno.EACCES:
                    advice = f"ports below {unprivileged_port()} are not for every user; {advice}"
                raise Failure(f"port {port} ({node.id}, {use}): {error.strerror}; {advice}") from error


def port_error(port: int) -> OSError | None:
    """Why a loopback port cannot be opened; None if it is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error
    return None


def twistd() -> Path:
    """The `twistd` of this Python installation: another one may not have kraft."""
    return Path(sysconfig.get_path("scripts")) / "twistd"


def _load(path: Path) -> Config:
    try:
        return load(str(path))
    except ConfigError as error:
        raise Failure(str(error)) from error


def _as_configured(node: LocalNode) -> LocalNode:
    """The node with the ports and the CA in its file, which may have been edited."""
    config = _load(node.config)
    peer, client, http = (
        int(section.advertise.rpartition(":")[2]) for section in (config.peer, config.client, config.http)
    )
    standby, groups = config.cluster.standby, config.cluster.groups
    held = config.tls.ca if config.http.tls != "off" else None
    return replace(
        node,
        peer_port=peer,
        client_port=client,
        http_port=http,
        standby=standby,
        groups=groups,
        ca=None if held is None else Path(os.path.normpath(held)),
    )
