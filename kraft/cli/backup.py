"""`kraft backup`: fetches an image of all data from a running cluster; `list` and `verify` look at images."""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kraft.backup.archive import Archive, StoredImage, archives_in, check_name, image_name
from kraft.backup.backup_key import BackupKey
from kraft.backup.errors import BackupError
from kraft.backup.image import verify, write_image
from kraft.backup.manifest import GROUPS_NAMED, MANIFEST_FILE, Manifest
from kraft.backup.shipped_log import LogPosition
from kraft.cli import arguments, servers
from kraft.cli.failure import Failure, WrongUsage
from kraft.cli.object_store import ObjectStore, is_url, local, push
from kraft.cli.output.blocks import BAD, EMPTY, GOOD, STRONG, Block, Span, TableColumn, TextTable, line
from kraft.cli.output.display import display
from kraft.cli.remote_image import RemoteImage
from kraft.moment import when

RATE_DEFAULT = 32 << 20  # as snapshot.bytes_per_second
ACTIONS = ("make", "copy", "list", "verify")

EXAMPLES = """\
examples:
  kraft backup --to /backup                         an image of all data, fetched from a node and verified
  kraft backup --to /backup -s 10.0.0.2:10011       from this node
  kraft backup --to /backup --name before-upgrade   its name, instead of the time
  kraft backup --to /backup --keep 7                the newest seven images stay, older ones are removed
  kraft backup --to /backup --key-file backup.key   encrypted; openssl rand -hex 32 > backup.key makes a key
  kraft backup --to s3://bucket/kraft               into an object store; AWS_ENDPOINT_URL may name it
  kraft backup copy /backup --to s3://bucket/kraft  what the store lacks of a directory, with the shipped log
  kraft backup list /backup                         the images, and how far the log is shipped
  kraft backup verify /backup                       reads every file of the newest image and the log after it
  kraft backup verify /backup/a38f0c52be71/before-upgrade

Clients are served meanwhile. Each group of the cluster has an index of its own. A node with backup.directory
makes such images by itself and ships the log after them; kraft restore goes back to any moment.
docs/backup.md has the whole procedure.

exit status: 0 done, all sound; 1 failed, or something is damaged, which is named; 2 wrong usage
"""
COLUMNS = (
    TableColumn("IMAGE"),
    TableColumn("MADE"),
    TableColumn("NODE"),
    TableColumn("ROWS", number=True),
    TableColumn("BYTES", number=True),
    TableColumn("STANDS AT"),
)


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand."""
    servers.declare(parser, "Make an image of all data, or look at images.", EXAMPLES, run)
    parser.add_argument(
        "action", nargs="?", choices=ACTIONS, default="make", help="default: make", metavar="copy|list|verify"
    )
    parser.add_argument("source", nargs="?", metavar="DIR", help="for copy, list and verify; or s3://BUCKET")
    parser.add_argument("--to", metavar="DIR", help="the backup directory, or s3://BUCKET/PREFIX")
    parser.add_argument("--name", help="of the image (default: the time)")
    parser.add_argument(
        "--keep",
        type=arguments.whole(0),
        default=0,
        metavar="N",
        help="remove all but the newest N images that have no --name (default 0: none)",
    )
    parser.add_argument("--key-file", metavar="FILE", help="encrypt, or read what is encrypted")
    parser.add_argument(
        "--bytes-per-second",
        type=arguments.whole(0),
        default=RATE_DEFAULT,
        metavar="N",
        help=f"the most that is fetched in a second (default {RATE_DEFAULT}; 0: no limit)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(chosen: argparse.Namespace) -> int:
    """Do it. Returns the exit status."""
    try:
        key = BackupKey.read(chosen.key_file)
        if chosen.action == "make":
            if chosen.to is None or chosen.source is not None:
                raise WrongUsage("kraft backup --to DIR makes an image; list DIR and verify DIR look at them")
            if not is_url(chosen.to):
                return _make(chosen, _directory(chosen.to), key)
            if chosen.keep:
                raise WrongUsage("--keep is for a directory; a bucket has a lifecycle rule for that")
            return _make_there(chosen, key)
        if chosen.source is None:
            raise WrongUsage(f"kraft backup {chosen.action} needs a directory")
        if chosen.action == "copy":
            return _copy(chosen)
        with local(chosen.source, key, parts="none" if chosen.action == "list" else "all") as source:
            return (_list if chosen.action == "list" else _verify)(chosen, source, key)
    except BackupError as error:
        raise Failure(str(error)) from None


# -- make ---------------------------------------------------------------------------------------------


def _directory(text: str) -> Path:
    """The directory for images, which may not exist yet. Raises Failure without the folder that it is in.

    A disk that is not mounted, or a mistake in the name, must not fill another disk.
    """
    directory = Path(text)
    if not directory.absolute().parent.is_dir():
        raise Failure(
            f"{directory.parent}: there is no such directory: is its disk mounted? Else mkdir -p it"
        )
    return directory


def _make_there(chosen: argparse.Namespace, key: BackupKey | None) -> int:
    """Make an image in a scratch directory, and copy it to an object store."""
    store = ObjectStore(chosen.to)
    with TemporaryDirectory(prefix="kraft-") as scratch:
        status = _make(chosen, Path(scratch), key)
        _push(Path(scratch), store)
    return status


def _copy(chosen: argparse.Namespace) -> int:
    if chosen.to is None or not is_url(chosen.to) or is_url(chosen.source):
        raise WrongUsage("kraft backup copy DIR --to s3://BUCKET/PREFIX")
    copied = _push(Path(chosen.source), ObjectStore(chosen.to))
    if chosen.json:
        print(json.dumps({"directory": chosen.source, "to": chosen.to, "copied": copied}, indent=2))
    else:
        display().show(line(Span("done", GOOD), f": {copied} files copied to {chosen.to}"))
    return 0


def _push(directory: Path, store: ObjectStore) -> int:
    with display().work(f"copying to {store.url}", "files") as report:
        return push(directory, store, report)


def _make(chosen: argparse.Namespace, to: Path, key: BackupKey | None) -> int:
    name = image_name(time.time_ns() // 1_000_000) if chosen.name is None else _name(chosen.name)
    with display().busy() as tell:
        tell("waiting for a checkpoint")
        image = RemoteImage(servers.chosen(chosen), chosen.bytes_per_second, servers.connector(chosen))
    try:
        archive = Archive.of_cluster(to, image.head.cluster, key)
        with (
            _kept(archive, chosen.keep) as removed,
            display().work(f"fetching {name} from {image.server}", "bytes") as report,
        ):
            manifest = write_image(image, archive.folder, name, key, report)
    finally:
        image.close()
    folder = str(archive.folder / name)
    if is_url(chosen.to):
        folder = f"{chosen.to.rstrip('/')}/{archive.folder.name}/{name}"
    if chosen.json:
        told = {"directory": folder, "verified": True, "removed": removed, **facts(manifest)}
        print(json.dumps(told, indent=2))
        return 0
    display().show(
        line(Span("done", GOOD), ": ", Span(folder, STRONG)),
        line(f"{manifest.keys} rows, {manifest.bytes} bytes, {manifest.place}; read back and verified"),
        *([line(f"removed: {', '.join(removed)}")] if removed else []),
        line(f"next: kraft restore {folder} --data-dir DIR --id ID shows what a restore would do"),
    )
    return 0


@contextmanager
def _kept(archive: Archive, keep: int) -> Iterator[list[str]]:
    """Remove all images but the newest `keep` at the end; the names are in the list then. 0 keeps all."""
    removed: list[str] = []
    if not keep:
        yield removed
        return
    if not archive.lock():
        raise BackupError(f"{archive.folder}: a node writes here and removes images itself: leave --keep out")
    try:
        archive.remove_leftovers()
        yield removed
        removed += archive.prune(keep)
    finally:
        archive.unlock()


def _name(text: str) -> str:
    try:
        return check_name(text)
    except ValueError as problem:
        raise WrongUsage(f"--name {problem}") from None


def facts(manifest: Manifest) -> dict[str, Any]:
    """The manifest as JSON values, without parts."""
    return {
        "name": manifest.name,
        "cluster": manifest.cluster,
        "node": manifest.node,
        "version": manifest.version,
        "created_ms": manifest.created_ms,
        "encrypted": manifest.encrypted,
        "keys": manifest.keys,
        "bytes": manifest.bytes,
        "groups": [
            {
                "group": group.group,
                "index": group.index,
                "term": group.term,
                "revision": group.revision,
                "stamp_ms": group.stamp_ms,
                "keys": group.keys,
                "sum": group.sum,
                "machine_version": group.machine_version,
            }
            for group in manifest.groups
        ],
    }


# -- list ---------------------------------------------------------------------------------------------


def _list(chosen: argparse.Namespace, source: Path, key: BackupKey | None) -> int:
    archives = list(archives_in(source, key))
    status = 0
    described = []
    for archive in archives:
        images = archive.images()
        logs, problems = _logs(archive, images)
        problems = [image.problem for image in images if image.problem] + problems
        status = 1 if problems else status
        if chosen.json:
            good = [facts(image.manifest) for image in images if image.manifest]
            told = [{"group": g, "index": p.index, "reaches_ms": p.reaches_ms} for g, p in logs.items()]
            described.append(
                {"directory": str(archive.folder), "images": good, "log": told, "problems": problems}
            )
        else:
            _show(archive, images, logs, problems)
    if chosen.json:
        print(json.dumps({"clusters": described}, indent=2))
    elif not archives:
        display().show(line(f"{chosen.source}: there is no backup in it"))
    return status


def _logs(archive: Archive, images: Sequence[StoredImage]) -> tuple[dict[int, LogPosition], list[str]]:
    """How far the log of each group is shipped, and what is wrong with it."""
    logs: dict[int, LogPosition] = {}
    problems = []
    newest = next((image.manifest for image in reversed(images) if image.manifest), None)
    for group in archive.shipped_groups() if newest is not None else ():
        try:
            reach = archive.shipped_log(newest.cluster if newest else "", group).reach
        except BackupError as error:
            problems.append(str(error))
        else:
            if reach is not None:
                logs[group] = reach
    return logs, problems


def _show(
    archive: Archive, images: Sequence[StoredImage], logs: dict[int, LogPosition], problems: list[str]
) -> None:
    rows = tuple(
        (
            Span(each.name, STRONG),
            Span(when(each.created_ms)),
            Span(each.node),
            Span(str(each.keys)),
            Span(str(each.bytes)),
            Span(each.place + (", encrypted" if each.encrypted else "")),
        )
        for each in (image.manifest for image in images)
        if each is not None
    )
    shown: list[Block] = [line(Span(str(archive.folder), STRONG)), TextTable(COLUMNS, rows)]
    if len(logs) > GROUPS_NAMED:
        group, least = min(logs.items(), key=lambda each: each[1].reaches_ms)
        shown.append(
            line(f"logs of {len(logs)} groups shipped, group {group} least: {when(least.reaches_ms)}", hang=2)
        )
    else:
        for group, position in logs.items():
            shown.append(
                line(
                    f"group {group}: log shipped up to {position.index}, {when(position.reaches_ms)}", hang=2
                )
            )
    shown += [line(Span("damaged", BAD), f": {problem}", hang=2) for problem in problems]
    display().show(*shown, EMPTY)


# -- verify -------------------------------------------------------------------------------------------


def _verify(chosen: argparse.Namespace, source: Path, key: BackupKey | None) -> int:
    if (source / MANIFEST_FILE).exists():
        verified, entries = [_verified(source, key)], dict[int, int]()
    else:
        archives = list(archives_in(source, key))
        if not archives:
            raise BackupError(f"{chosen.source}: there is no backup in it")
        verified, entries = [], {}
        for archive in archives:
            images = archive.images()
            broken = [image.problem for image in images if image.problem]
            if broken or not images:
                raise BackupError("; ".join(broken) or f"{archive.folder}: there is no image in it")
            verified += [_verified(image.folder, key) for image in images]
            entries = _verified_log(archive, verified[-1])
    if chosen.json:
        told = [facts(manifest) for manifest in verified]
        print(json.dumps({"sound": True, "images": told, "log_entries": entries}, indent=2))
        return 0
    for manifest in verified:
        display().show(
            line(Span("sound", GOOD), f": {manifest.name}, {manifest.keys} rows, {manifest.place}")
        )
    if len(entries) > GROUPS_NAMED:
        total = f"{sum(entries.values())} log entries of {len(entries)} groups"
        display().show(line(Span("sound", GOOD), f": {total} after it"))
    else:
        for group, count in entries.items():
            display().show(line(Span("sound", GOOD), f": {count} log entries of group {group} after it"))
    return 0


def _verified(folder: Path, key: BackupKey | None) -> Manifest:
    with display().work(f"reading {folder}", "keys") as report:
        return verify(folder, key, report)


def _verified_log(archive: Archive, manifest: Manifest) -> dict[int, int]:
    """Read the shipped log after an image; the number of entries by group.

    Groups that were created after it have all of their log there.
    """
    found = {}
    places = {each.group: LogPosition(each.index, each.term, each.stamp_ms) for each in manifest.groups}
    for group in sorted(places.keys() | archive.shipped_groups()):
        log = archive.shipped_log(manifest.cluster, group)
        if log.reach is not None:
            found[group] = sum(1 for _ in log.entries(places.get(group, LogPosition(0, 0, 0))))
    return found
