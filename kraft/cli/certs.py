"""`kraft certs`: a CA and certificates for a cluster, for people who have no CA of their own.

Everything is in one folder: `ca.crt`, `ca.key` and `ca.crl`, and a pair of files for each node and client.
The folder is the only record, and the common name of the CA has the name of the cluster.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from kraft.cli import arguments
from kraft.cli.certificate_folder import (
    CLIENT,
    CLUSTER_DEFAULT,
    DAYS_DEFAULT,
    LOCAL_HOSTS,
    CertificateFolder,
    Listed,
    check_libraries,
)
from kraft.cli.failure import Failure, WrongUsage
from kraft.cli.output.blocks import (
    COMMAND,
    EMPTY,
    GOOD,
    STRONG,
    Block,
    Line,
    Span,
    TableColumn,
    TextTable,
    line,
)
from kraft.cli.output.display import display

FOLDER_DEFAULT = Path("kraft-certs")
DAYS_MAX = 3650
TARGET = "/etc/kraft"

EXAMPLES = """\
examples:
  kraft certs K1=10.0.0.1 K2=10.0.0.2 K3=10.0.0.3     a CA, three nodes and the client admin, in ./kraft-certs
  kraft certs K1=10.0.0.1,db1.example.org ...         with every address and name that clients use
  kraft certs K4=10.0.0.4                             one more node, by the same CA
  kraft certs --client shop --client backup           clients; the name is what the server sees
  kraft certs --renew                                 what ends within 30 days, with new keys
  kraft certs --renew K1                              this one now
  kraft certs --renew client-shop                     of a client, also as --client shop
  kraft certs --revoke K3                             writes ca.crl anew: copy it to every node
  kraft certs                                         lists what there is
  kraft certs --json | jq -r '.certificates[].expires'

The folder holds ca.crt, ca.key and ca.crl, NODE.crt and NODE.key for each node, and client-NAME.crt and
client-NAME.key for each client; earlier/ keeps certificates from before a renewal, which --revoke NAME covers
too. Whoever has ca.key can make certificates: keep the folder off the servers. A node takes new files over
while it runs. docs/tls.md leads to a secure cluster in fifteen minutes.

exit status: 0 done; 1 failed; 2 wrong usage
"""
COLUMNS = (
    TableColumn("CERTIFICATE"),
    TableColumn("FOR"),
    TableColumn("ENDS"),
    TableColumn("HOSTS", spare=1),
)


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand."""
    parser.description = (
        "Makes a CA and certificates for the nodes and clients of a cluster, renews and revokes them."
    )
    parser.epilog = EXAMPLES
    parser.add_argument(
        "nodes", nargs="*", metavar="NODE=HOST[,HOST...]", help="id of a node, and where clients find it"
    )
    parser.add_argument("--client", action="append", default=[], metavar="NAME", help="make one for a client")
    parser.add_argument(
        "--dir", type=Path, default=FOLDER_DEFAULT, metavar="DIR", help=f"folder (default ./{FOLDER_DEFAULT})"
    )
    parser.add_argument(
        "--cluster", metavar="NAME", help=f"name of the cluster in a new folder (default {CLUSTER_DEFAULT})"
    )
    parser.add_argument(
        "--days",
        type=arguments.whole(1, DAYS_MAX),
        default=DAYS_DEFAULT,
        metavar="N",
        help=f"how long they last (default {DAYS_DEFAULT})",
    )
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--renew", action="store_true", help="make those named anew, or all that end soon")
    change.add_argument("--revoke", action="store_true", help="revoke those named, for good")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Make, renew or revoke certificates, and say what to do with them. Returns the exit status."""
    check_libraries("certs")
    folder = CertificateFolder(chosen.dir, datetime.now(UTC))
    try:
        made = _change(folder, chosen)
        listed = list(folder.listed())
    except OSError as error:
        raise Failure(f"{error.filename or chosen.dir}: {error.strerror}") from None
    if chosen.json:
        print(json.dumps(_facts(folder, made, listed), indent=2))
    else:
        display().show(*_told(folder, chosen, made, listed))
    return 0


def _change(folder: "CertificateFolder", chosen: argparse.Namespace) -> list[str]:
    """Do what was asked. Returns the names of the certificates that were made or revoked."""
    if chosen.revoke:
        names = _existing(chosen)
        if not names:
            raise WrongUsage("--revoke needs the name of a node, or --client NAME")
        folder.open()
        folder.revoke(names)
        return names
    if chosen.renew:
        folder.open()
        return folder.renew(_existing(chosen) or folder.due(), chosen.days)
    nodes = dict(map(_node, chosen.nodes))
    clients = list(chosen.client)
    for name in clients:
        _check_name(name)
    if folder.exists:
        folder.open()
        if chosen.cluster not in (None, folder.cluster):
            raise WrongUsage(
                f"{folder.path} is for the cluster {folder.cluster}: name another one with --dir"
            )
    elif nodes:
        cluster = chosen.cluster or CLUSTER_DEFAULT
        _check_name(cluster)
        folder.create(cluster)
        clients = clients or ["admin"]
    else:
        raise WrongUsage(f"there are no certificates in {folder.path}: name the nodes, like K1=10.0.0.1")
    return folder.make(nodes, clients, chosen.days)


def _existing(chosen: argparse.Namespace) -> list[str]:
    """The certificates that are named, as they are listed: NODE, and client-NAME, also as --client NAME."""
    names = [*chosen.nodes, *(CLIENT + name for name in chosen.client)]
    for name in names:
        if name == "ca":
            raise WrongUsage("the CA is not renewed or revoked like this; docs/tls.md says how to replace it")
        _check_name(name.removeprefix(CLIENT))
    return list(dict.fromkeys(names))


def _node(word: str) -> tuple[str, list[str]]:
    """The id and the hosts in NODE=HOST,HOST."""
    name, equals, hosts = word.partition("=")
    _check_name(name)
    found = [host.strip("[]") for host in hosts.split(",") if host]
    if not equals or not found:
        raise WrongUsage(f"{word}: add where clients find the node, like {name}=10.0.0.1,db1.example.org")
    for host in found:
        if not host.isascii() or not all(letter.isalnum() or letter in "-._:*" for letter in host):
            raise WrongUsage(f"{word}: {host!r} is neither a host name nor an IP address, without a port")
        if ":" in host and host.count(":") == 1:
            raise WrongUsage(f"{word}: leave out the port of {host}: a certificate is for the host")
    return name, found


def _check_name(name: str) -> None:
    from kraft.tls.names import NAME_FORM, is_name

    if not is_name(name) or name == "ca" or name.startswith(CLIENT):
        raise WrongUsage(f"{name!r} cannot be a name here; write {NAME_FORM.replace('`', '')}, and not ca")


# -- output -------------------------------------------------------------------------------------------


def _facts(folder: CertificateFolder, made: Sequence[str], listed: Sequence[Listed]) -> dict[str, object]:
    return {
        "folder": str(folder.path),
        "cluster": folder.cluster,
        "changed": list(made),
        "certificates": [
            {
                "name": each.name,
                "for": each.of,
                "certificate": str(folder.path / f"{each.name}.crt"),
                "key": str(folder.path / f"{each.name}.key"),
                "expires": each.expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "hosts": list(each.hosts),
            }
            for each in listed
        ],
    }


def _told(
    folder: CertificateFolder, chosen: argparse.Namespace, made: Sequence[str], listed: Sequence[Listed]
) -> Iterator[Block]:
    rows = tuple(
        (
            Span(each.name, STRONG),
            Span(each.of),
            Span(each.expires.strftime("%Y-%m-%d")),
            Span(", ".join(host for host in each.hosts if host not in LOCAL_HOSTS) or "-"),
        )
        for each in listed
    )
    yield TextTable(COLUMNS, rows)
    yield EMPTY
    where = f"{folder.path}/"
    if chosen.revoke:
        yield line(
            Span("revoked", GOOD), f" {', '.join(made)}; copy the list to every node, which takes it over:"
        )
        yield from _copies([(each, ["ca.crl"]) for each in listed if each.of.startswith("node ")], where)
        return
    if not made:
        yield line("nothing had to be made")
        return
    yield line(Span("made", GOOD), f" {', '.join(made)} for the cluster {folder.cluster}, in {where}")
    nodes = [each for each in listed if each.name in made and each.of.startswith("node ")]
    if nodes:
        yield EMPTY
        yield line("Copy to each node what is its own:")
        yield from _copies(
            [(each, [f"{each.name}.crt", f"{each.name}.key", "ca.crt", "ca.crl"]) for each in nodes], where
        )
        name = nodes[0].name
        yield line(
            "  ",
            Span("systemd-tmpfiles --create kraft.conf", COMMAND),
            "     # there: the nodes may read the keys",
        )
        yield EMPTY
        yield line(f"In {TARGET}/{name}.yaml, and likewise on the others:")
        for text in configuration(name):
            yield line("  ", Span(text, COMMAND))
    clients = [each for each in listed if each.name in made and each.of.startswith("client ")]
    if clients:
        yield EMPTY
        name = clients[0].name
        files = f"--cacert {where}ca.crt --cert {where}{name}.crt --key {where}{name}.key"
        yield line("A client has its own two files and ca.crt:")
        yield line("  ", Span(f"kraft shell --tls {files}", COMMAND))
        yield line("  ", Span(f"redis-cli --tls {files} -h HOST -p 10011", COMMAND))
    yield EMPTY
    yield line(f"Keep {where}ca.key away from the servers: whoever has it can make certificates.")


def configuration(name: str) -> Iterator[str]:
    """The lines of the configuration of the node `name` that make all its ports secure."""
    own = f"certificate: {TARGET}/{name}.crt, key: {TARGET}/{name}.key"
    yield f"tls: {{{own}, ca: {TARGET}/ca.crt, crl: {TARGET}/ca.crl}}"
    yield "peer: {..., tls: required}"
    yield "client: {..., tls: required}        # and certificates: required, if clients must show theirs"
    yield "http: {..., tls: required}"


def _copies(files: Sequence[tuple[Listed, list[str]]], where: str) -> Iterator[Line]:
    for each, names in files:
        host = next((host for host in each.hosts if host not in LOCAL_HOSTS), "HOST")
        listed = " ".join(where + name for name in names)
        yield line("  ", Span(f"scp {listed} root@{host}:{TARGET}/", COMMAND))
