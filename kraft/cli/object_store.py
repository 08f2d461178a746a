"""Backups in an S3-compatible object store: copied there from a directory, and back for a restore.

boto3 does the transfer, with its own retries and checksums; credentials, region and endpoint come from where
it looks for them (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ~/.aws/config). Parts and segments go before the files
that speak of them (`manifest.json`, `position`), so an interrupted copy leaves no image that seems complete.
"""

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from kraft.backup.archive import Archive, archives_in, find_image
from kraft.backup.backup_key import BackupKey
from kraft.backup.errors import BackupError
from kraft.backup.manifest import MANIFEST_FILE
from kraft.backup.shipped_log import POSITION_FILE, PRUNED_FILE
from kraft.cli.failure import Failure, WrongUsage
from kraft.cli.output.display import display
from kraft.moment import LATEST, Moment

SCHEME = "s3://"
_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?")
_CHANGING = (POSITION_FILE, PRUNED_FILE)
_LAST = (MANIFEST_FILE, *_CHANGING)
CONNECT_SECONDS, READ_SECONDS = 10, 30  # of one request
LISTINGS = 5  # until one shows what was copied just now: some stores list it late
LISTING_SECONDS = 1.0

Report = Callable[[int, int], None]


class ObjectStore:
    """The objects below `s3://BUCKET/PREFIX`; names are relative to that. Methods raise `BackupError`."""

    def __init__(self, url: str) -> None:
        match = _URL.fullmatch(url)
        if match is None:
            raise WrongUsage(f"{url}: write s3://BUCKET or s3://BUCKET/PREFIX")
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError:
            raise Failure("backups in an object store need a library: pip install boto3") from None
        self.url = url
        self._bucket = match[1]
        self._prefix = (match[2] or "").strip("/")
        self._errors = (BotoCoreError, ClientError, boto3.exceptions.Boto3Error)
        try:
            # A store that hangs is given up after minutes; botocore asks a few times before that.
            config = Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS)
            self._client: Any = boto3.client("s3", config=config)
        except self._errors as error:
            raise Failure(f"{url}: {error}") from None

    def sizes(self) -> dict[str, int]:
        """Bytes of every object, by name."""
        found = {}
        with self._explained():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._key("")
            )
            for page in pages:
                for each in page.get("Contents", ()):
                    found[each["Key"][len(self._key("")) :]] = int(each["Size"])
        return found

    def upload(self, path: Path, name: str) -> None:
        """Copy a file to the store."""
        with self._explained():
            self._client.upload_file(str(path), self._bucket, self._key(name))

    def download(self, name: str, path: Path) -> None:
        """Copy an object to a file."""
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._client.download_file(self._bucket, self._key(name), str(path))

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise BackupError(f"{self.url}: {error}") from error
        except OSError as error:  # of a file here
            place = f"{error.filename}: " if error.filename else ""
            raise BackupError(f"{place}{error.strerror or error}") from error


def is_url(source: str) -> bool:
    """Whether `source` names an object store."""
    return source.startswith(SCHEME)


def push(directory: Path, store: ObjectStore, report: Report) -> int:
    """Copy what the store lacks of a backup directory. Returns the number of files that were copied.

    The files that speak of others go there when the store lists those others, with their sizes.
    """
    there = store.sizes()
    archives = list(archives_in(directory, None))
    with tempfile.TemporaryDirectory() as scratch:
        positions, files = _found(archives, Path(scratch))
        while any(path.name == POSITION_FILE and path not in positions for path in files):
            positions, files = _found(archives, Path(scratch))  # a log was begun meanwhile
        wanted = sorted(
            (
                path.name in _LAST,
                str(path.relative_to(directory)),
                positions.get(path, path),
                path.name in _CHANGING,
            )
            for path in files
        )
        sizes = {name: file.stat().st_size for _, name, file, _ in wanted}
        copied: dict[str, int] = {}  # with their sizes
        listed = 0  # of those
        for done, (last, name, file, always) in enumerate(wanted, 1):
            if always or there.get(name) != sizes[name]:
                if last and not listed:
                    listed = _demand(store, copied)
                store.upload(file, name)
                copied[name] = sizes[name]
            report(done, len(wanted))
    return len(copied)


def _demand(store: ObjectStore, sizes: dict[str, int]) -> int:
    """Raise `BackupError` unless the store lists these objects with these sizes. Returns their number."""
    for left in reversed(range(LISTINGS)):
        there = store.sizes() if sizes else {}
        wrong = [name for name, size in sizes.items() if there.get(name) != size]
        if not wrong:
            break
        if not left:
            text = f"{len(wrong)} of {len(sizes)} files that were copied are missing or cut there"
            raise BackupError(f"{store.url}: {text}, such as {wrong[0]}: repeat it")
        time.sleep(LISTING_SECONDS)
    return len(sizes)


def _is_kept(name: Path) -> bool:
    """Whether a file belongs to the backup: not the lock, nor what is being written."""
    hidden = any(part.startswith(".") for part in name.parts)
    return not hidden and (name.suffix in (".rows", ".segment") or name.name in _LAST)


def _found(archives: Sequence[Archive], scratch: Path) -> tuple[dict[Path, Path], list[Path]]:
    """Copies of the positions as they are now, and the files found after that: segments hold as much."""
    copies = dict[Path, Path]()
    for path in _kept(archives, POSITION_FILE):
        copies[path] = scratch / str(len(copies))
        copies[path].write_bytes(path.read_bytes())
    return copies, list(_kept(archives, "*"))


def _kept(archives: Sequence[Archive], pattern: str) -> Iterator[Path]:
    """The files of backups with these names, in order."""
    for archive in archives:
        for path in sorted(archive.folder.rglob(pattern)):
            if path.is_file() and _is_kept(path.relative_to(archive.folder)):
                yield path


@contextmanager
def local(
    source: str,
    key: BackupKey | None,
    moment: Moment | None = None,
    parts: Literal["none", "needed", "all"] = "needed",
) -> Iterator[Path]:
    """`source` as a directory of this machine: itself, or a copy that goes at the end.

    Manifests and logs are copied in any case; of the images the `parts` that a restore to `moment` needs, or
    all, or none. Without a moment, of one image its own is meant, and else the latest. To any other moment
    one image is copied with the log beside it.
    """
    if not is_url(source):
        yield Path(source)
        return
    store = ObjectStore(source)
    with tempfile.TemporaryDirectory(prefix="kraft-") as scratch:
        top = Path(scratch) / (store.url.rstrip("/").rpartition("/")[2] or "backup")
        names = sorted(store.sizes())
        if MANIFEST_FILE in names and moment is not None:
            _copy_with_log(store, top)
            yield top
            return
        _download(store, top, [name for name in names if parts == "all" or not name.endswith(".rows")])
        if parts == "needed":
            folder = find_image(top, moment or LATEST, key)[1].relative_to(top)
            place = "" if str(folder) == "." else f"{folder}/"
            _download(store, top, [n for n in names if n.startswith(place) and n.endswith(".rows")])
        yield top


def _copy_with_log(image: ObjectStore, top: Path) -> None:
    """Copy an image to `top`, and the log of its cluster beside it."""
    beside = ObjectStore(image.url.rstrip("/").rpartition("/")[0])
    wanted = (f"{top.name}/", "log-")
    _download(beside, top.parent, [name for name in sorted(beside.sizes()) if name.startswith(wanted)])


def _download(store: ObjectStore, top: Path, names: list[str]) -> None:
    with display().work(f"copying from {store.url}", "files") as report:
        for done, name in enumerate(names, 1):
            if ".." in Path(name).parts or name.startswith("/"):
                raise BackupError(f"{store.url}: {name!r} is no name of a backup's file")
            store.download(name, top / name)
            report(done, len(names))
