"""`kraft restore`: makes the data directory of a new cluster from a backup, as of any moment in it."""

import argparse
import json
import secrets
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kraft.backup.archive import is_timed
from kraft.backup.backup_key import BackupKey
from kraft.backup.errors import BackupError
from kraft.backup.manifest import GROUPS_NAMED
from kraft.cli.failure import Failure, WrongUsage
from kraft.cli.object_store import local
from kraft.cli.output.blocks import COMMAND, DIM, EMPTY, GOOD, STRONG, Line, Span, line
from kraft.cli.output.display import display
from kraft.config import ConfigError, load
from kraft.config.kinds import Address, NodeId, RestoreToken
from kraft.host.membership.formation import cluster_id
from kraft.listen_address import is_loopback, split_address
from kraft.moment import Moment, parse_moment, when
from kraft.node.values import Identity
from kraft.storage.errors import StorageError
from kraft.storage.offline import restoration
from kraft.storage.offline.restoration import GroupTarget, Restoration, founders_of, refuse_used_directory

PEER_DEFAULT = "127.0.0.1:10001"
UNITS = Path("/etc/kraft")  # the files of kraft@.service
TOKEN_BYTES = 8
LABEL_WIDTH = 9

EXAMPLES = """\
examples:
  kraft restore /backup --data-dir /var/lib/kraft/K1 --id K1          shows what would be done
  kraft restore /backup --data-dir /var/lib/kraft/K1 --id K1 --yes    does it: the latest state
  kraft restore /backup --config /etc/kraft/K1.yaml --yes             id, directory and members from the file
  kraft restore /backup --config K1.yaml --at 2026-11-29T18:05:00Z    the state at this time
  kraft restore /backup --config K1.yaml --at 48211                   the state at this revision
  kraft restore /backup/a38f0c52be71/before-upgrade --config K1.yaml  the state of this image

Three founders: run it on each machine with the same --member options (or files with the same
cluster.members), the same --at and the same --token. Without a token one is drawn and shown.

The new cluster has a new id: its nodes and those of the old cluster refuse each other. The data directory
has to be empty. docs/backup.md has the whole procedure.

exit status: 0 shown or done; 1 not possible, or something is damaged, which is named; 2 wrong usage
"""


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand."""
    parser.description = "Makes the data directory of a new cluster from a backup."
    parser.epilog = EXAMPLES
    parser.add_argument("source", metavar="FROM", help="a backup directory, an image in it, or s3://BUCKET")
    parser.add_argument("--config", metavar="FILE", help="the node's YAML file, instead of the next four")
    parser.add_argument("--data-dir", metavar="DIR", help="the node's data directory, empty or missing")
    parser.add_argument("--id", help="the node's id")
    parser.add_argument("--peer", metavar="HOST:PORT", help=f"its peer port (default {PEER_DEFAULT})")
    parser.add_argument(
        "--member", action="append", metavar="ID=HOST:PORT", help="each founder of a cluster of several nodes"
    )
    parser.add_argument("--token", help="the same on all founders of a cluster of several nodes")
    parser.add_argument("--at", metavar="TIME|REVISION|latest", help="default: latest; of one image, its own")
    parser.add_argument("--key-file", metavar="FILE", help="of an encrypted backup")
    parser.add_argument(
        "--yes", action="store_true", help="do it; without it everything is only read and shown"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=run)


class _Target:
    """The node to be made: id, directory, addresses of all founders, and the groups that its file names."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        given = _from_file(chosen) if chosen.config else (*_from_options(chosen), None)
        self.id, self.directory, self.members, self.groups = given
        self._config = chosen.config
        self.token = chosen.token
        self.drawn = chosen.token is None
        if self.drawn:
            self.token = secrets.token_hex(TOKEN_BYTES)
        elif len(self.members) > 1:
            _checked("--token", RestoreToken().convert, self.token)
        if self.drawn and chosen.yes and len(self.members) > 1:
            raise WrongUsage(f"several members need the same --token, such as --token {self.token}")

    @property
    def start(self) -> str:
        """What starts the node: without a file, options do on one machine; else FILE has to be written."""
        host, port = split_address(dict(self.members)[self.id])
        if self._config and Path(self._config).absolute().parent == UNITS:
            return shlex.join(["systemctl", "start", f"kraft@{Path(self._config).stem}"])
        options = ["--config", self._config or "FILE"]
        if not self._config and len(self.members) == 1 and is_loopback(host):
            options = ["--id", self.id, "--data-dir", self.directory]
            if (host, port) != split_address(PEER_DEFAULT):
                options += ["--host", host, "--raft-rpc-port", str(port)]
        return shlex.join(["twistd", "-n", "--pidfile=", "kraft", *options])


def _from_file(chosen: argparse.Namespace) -> tuple[str, str, list[tuple[str, str]], int | None]:
    if chosen.data_dir or chosen.id or chosen.peer or chosen.member:
        raise WrongUsage("--config stands for --data-dir, --id, --peer and --member: leave those out")
    try:
        config = load(chosen.config)
    except ConfigError as error:
        raise Failure("; ".join(map(str, error.problems))) from None
    members = list(config.cluster.members.items()) or [(config.node.id, config.peer.advertise)]
    return config.node.id, config.node.data, members, config.cluster.groups


def _from_options(chosen: argparse.Namespace) -> tuple[str, str, list[tuple[str, str]]]:
    if not chosen.data_dir or not chosen.id:
        raise WrongUsage("name the node: --data-dir DIR --id ID, or --config FILE")
    id_ = _checked("--id", NodeId().convert, chosen.id)
    members = []
    for text in chosen.member or []:
        name, equals, address = text.partition("=")
        if not equals:
            raise WrongUsage(f"--member {text}: write ID=HOST:PORT")
        members.append(
            (_checked("--member", NodeId().convert, name), _checked("--member", Address().convert, address))
        )
    if members and id_ not in [name for name, _ in members]:
        raise WrongUsage(f"--id {id_} is none of the --member options")
    if len({name for name, _ in members}) != len(members):
        raise WrongUsage("--member: an id is named twice")
    if members and chosen.peer:
        raise WrongUsage("--peer and --member: leave out one of the two")
    return (
        id_,
        chosen.data_dir,
        members or [(id_, _checked("--peer", Address().convert, chosen.peer or PEER_DEFAULT))],
    )


def _checked(option: str, convert: Any, text: str) -> str:
    try:
        return str(convert(text))
    except ValueError as problem:
        raise WrongUsage(f"{option}: {problem}") from None


def run(chosen: argparse.Namespace) -> int:
    """Show what a restore would do, and do it if asked to. Returns the exit status."""
    target = _Target(chosen)
    moment: Moment | None = None
    if chosen.at is not None:
        try:
            moment = parse_moment(chosen.at)
        except ValueError as problem:
            raise WrongUsage(f"--at: {problem}") from None
    try:
        key = BackupKey.read(chosen.key_file)
        refuse_used_directory(target.directory)
        with local(chosen.source, key, moment) as source:
            return _run(chosen, target, restoration.open_backup(str(source), moment, key), source)
    except (BackupError, StorageError) as error:
        raise Failure(str(error)) from None


def _run(chosen: argparse.Namespace, target: _Target, backup: Restoration, source: Path) -> int:
    founders = founders_of(target.members, target.token, backup.manifest)
    identity = None
    with display().work(f"reading {backup.folder}", "bytes" if chosen.yes else "keys") as report:
        if chosen.yes:
            identity, targets = restoration.restore(
                backup, target.directory, target.id, founders, cluster_id, report
            )
        else:
            targets = restoration.rehearse(backup, report)
    if chosen.json:
        print(json.dumps(facts(target, backup, targets, identity), indent=2))
    else:
        display().show(*_report(target, backup, targets, identity, found=backup.folder != source))
    return 0


def facts(
    target: _Target, backup: Restoration, targets: Sequence[GroupTarget], identity: Identity | None
) -> dict[str, Any]:
    """The outcome as JSON values."""
    return {
        "image": str(backup.folder),
        "old_cluster": backup.manifest.cluster,
        "new_cluster": identity.cluster if identity is not None else None,
        "node": target.id,
        "directory": target.directory,
        "members": dict(target.members),
        "token": target.token,
        "restored": identity is not None,
        "groups": [
            {
                "group": each.group,
                "index": each.index,
                "stamp_ms": each.stamp_ms,
                "revision": each.revision,
                "keys": each.keys,
                "log_entries": each.entries,
                "left_out": each.left_out,
                "sum": each.sum,
            }
            for each in targets
        ],
    }


def _report(
    target: _Target,
    backup: Restoration,
    targets: Sequence[GroupTarget],
    identity: Identity | None,
    *,
    found: bool,
) -> Iterator[Line]:
    """`found`: the image was not named, but is the one from which the moment can be reached."""
    manifest, moment = backup.manifest, backup.moment
    yield _labelled("image", f"{backup.folder}, made {when(manifest.created_ms)} by {manifest.node}")
    if found:
        named = "" if is_timed(manifest.name) else "; it was given a name, which does not matter here"
        yield _labelled("", f"the newest image up to the moment{named}")
    yield _labelled("moment", str(moment))
    if len(targets) > GROUPS_NAMED:
        yield from _ends_of_many(targets, done=identity is not None)
    else:
        yield from _ends(backup, targets, done=identity is not None)
    yield _labelled("node", f"{target.id} in {target.directory}")
    yield _labelled("members", ", ".join(f"{id_} {address}" for id_, address in target.members))
    founded = manifest.founded_groups
    if target.groups not in (None, founded, len(targets)):
        has = f"{len(targets)}, as in the backup: set cluster.groups, which is {target.groups}, to "
        yield _labelled("groups", has + ("that" if founded == len(targets) else str(founded)))
    yield EMPTY
    if identity is None:
        yield line("everything was read and is sound; nothing was changed: repeat it with --yes")
        if len(target.members) > 1:
            yield line("on all founders with the same ", Span(f"--token {target.token}", COMMAND))
        return
    yield line(
        Span("done", GOOD),
        f": {target.id} is a founder of the new cluster ",
        Span(identity.cluster[:12], STRONG),
    )
    if len(target.members) > 1:
        others = ", ".join(id_ for id_, _ in target.members if id_ != target.id)
        yield line(f"next: the same with --token {target.token} for {others}; then start all of them, here")
        yield line("  ", Span(target.start, COMMAND))
    else:
        yield line(f"next: start {target.id}; other nodes join with cluster.standby: true and kraft add")
        yield line("  ", Span(target.start, COMMAND))


def _ends(backup: Restoration, targets: Sequence[GroupTarget], *, done: bool) -> Iterator[Line]:
    """Where each group ends."""
    manifest, moment = backup.manifest, backup.moment
    for each in targets:
        place = f"group {each.group}: " if len(targets) > 1 else ""
        ends = f"{place}index {each.index}, {when(each.stamp_ms)}"
        if done:
            ends += f", revision {each.revision}, {each.keys} rows, sum {each.sum[:12]}"
        elif moment.revision is not None:
            ends = f"{place}at most index {each.index}: where the revision is shows when it is done"
        elif len(targets) > 1:
            ends = f"{place}at most index {each.index}, {when(each.stamp_ms)}"
        yield _labelled("ends at", ends)
        yield _labelled("", f"{each.entries} entries of the shipped log after {place_of(manifest, each)}")
        if each.left_out:
            yield _labelled("", f"without {each.left_out} more: a transaction over groups is not whole there")


def _ends_of_many(targets: Sequence[GroupTarget], *, done: bool) -> Iterator[Line]:
    """Where the groups end, in numbers."""
    stamps = [each.stamp_ms for each in targets]
    most, rows = ("", f", {sum(each.keys for each in targets)} rows") if done else ("at most ", "")
    yield _labelled(
        "ends at", f"{len(targets)} groups: {most}{when(min(stamps))} to {when(max(stamps))}{rows}"
    )
    entries = sum(each.entries for each in targets)
    yield _labelled("", f"{entries} entries of the shipped logs after the image; --json names the groups")
    if left_out := [each.left_out for each in targets if each.left_out]:
        groups = f"in {len(left_out)} groups: transactions over groups are not whole there"
        yield _labelled("", f"without {sum(left_out)} more {groups}")


def place_of(manifest: Any, target: GroupTarget) -> str:
    """Where the replay of a group began."""
    found = [group.index for group in manifest.groups if group.group == target.group]
    return f"the image at index {found[0]}" if found else "its creation"


def _labelled(name: str, text: str) -> Line:
    return line("  ", Span(f"{name:<{LABEL_WIDTH}}", DIM), f" {text}", hang=LABEL_WIDTH + 3)
