"""Backups in an object store, with a real S3 server."""

import json
import time
from pathlib import Path

import pytest

from kraft.backup.archive import Archive
from kraft.backup.errors import BackupError
from kraft.backup.shipped_log import LogPosition
from kraft.cli import object_store
from kraft.cli.main import main
from kraft.cli.object_store import ObjectStore, local, push
from kraft.moment import LATEST, Moment
from kraft.storage.offline.restoration import open_backup, rehearse
from tests.backup.sources import CLUSTER, SECOND_MS, START_MS, Twin, backed_up, history, make_image
from tests.cli.s3_server import running_s3

pytest.importorskip("boto3")
pytest.importorskip("moto")

pytestmark = pytest.mark.slow
FOLDER = CLUSTER[:12]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The URL of an S3 server."""
    with running_s3(tmp_path_factory.mktemp("moto")) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def bucket(server, monkeypatch):
    """A new bucket, as `s3://...`."""
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "one",
        "AWS_SECRET_ACCESS_KEY": "two",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    import boto3

    name = f"backups-{time.time_ns()}"
    client = boto3.client("s3")
    client.create_bucket(Bucket=name)
    yield f"s3://{name}"
    client.close()


def unheard(_done, _of):
    pass


def test_a_directory_goes_there_and_comes_back(tmp_path, bucket):
    backed_up(tmp_path / "b", 10, 30)
    store = ObjectStore(f"{bucket}/kraft/prod")
    assert push(tmp_path / "b", store, unheard) == 4
    assert set(store.sizes()) == {
        f"{FOLDER}/image/manifest.json",
        f"{FOLDER}/image/group-0-0001.rows",
        f"{FOLDER}/log-0/{11:016}.segment",
        f"{FOLDER}/log-0/position",
    }
    image, at_17 = f"{store.url}/{FOLDER}/image", Moment(time_ms=START_MS + 17 * SECOND_MS)
    moments = (
        (store.url, LATEST, 30),
        (store.url, None, 30),
        (f"{store.url}/{FOLDER}", at_17, 17),
        (image, None, 10),
        (image, LATEST, 30),
        (f"{image}/", at_17, 17),
    )
    for source, moment, at in moments:
        with local(source, None, moment) as path:
            (target,) = rehearse(open_backup(str(path), moment, None))
            assert target.index == at
        assert not path.exists()


def test_only_what_is_missing_is_copied(tmp_path, bucket):
    archive = backed_up(tmp_path / "b", 10, 30)
    store = ObjectStore(bucket)
    push(tmp_path / "b", store, unheard)
    assert push(tmp_path / "b", store, unheard) == 1  # the position
    log = archive.shipped_log(CLUSTER, 0)
    assert log.resume()
    log.append(history(31, 40))
    log.close()
    make_image(archive, Twin().apply(history(1, 40)), "later", START_MS + 40 * SECOND_MS)
    assert push(tmp_path / "b", store, unheard) == 4
    with local(bucket, None) as path:
        backup = open_backup(str(path), LATEST, None)
        assert (backup.manifest.name, rehearse(backup)[0].index) == ("later", 40)
        assert not (path / FOLDER / "image/group-0-0001.rows").exists()  # that one is not needed


@pytest.mark.parametrize("listed_late", [False, True])
def test_a_log_that_is_shipped_meanwhile_is_copied_up_to_some_entry(
    tmp_path, bucket, monkeypatch, listed_late
):
    """A segment that is begun while the files are found, before or after its folder is listed."""
    archive = backed_up(tmp_path / "b", 10, 30)
    glob = Path.rglob

    def rglob(self, pattern):
        if pattern != "*":
            return glob(self, pattern)
        found = list(glob(self, pattern)) if not listed_late else []
        log = archive.shipped_log(CLUSTER, 0)
        assert log.resume()
        log.append(history(31, 40))
        log.close()
        return found or list(glob(self, pattern))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rglob", rglob)
        push(tmp_path / "b", ObjectStore(bucket), unheard)
    with local(bucket, None) as path:
        assert rehearse(open_backup(str(path), LATEST, None))[0].index in (30, 40)


def test_a_log_that_is_begun_meanwhile_is_copied_up_to_some_entry(tmp_path, bucket, monkeypatch):
    """Its position goes there as it was before its segments were found, though it is shipped on."""
    archive = make_archive(tmp_path / "b")
    log = archive.shipped_log(CLUSTER, 0)
    glob, upload = Path.rglob, ObjectStore.upload

    def rglob(self, pattern):
        if log.position is None and pattern == "*":
            log.begin(LogPosition(10, 2, START_MS + 10 * SECOND_MS))
        return glob(self, pattern)

    def shipped_on(self, file, name):
        upload(self, file, name)
        if name.endswith(".segment"):
            log.append(history(11, 20))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rglob", rglob)
        patch.setattr(ObjectStore, "upload", shipped_on)
        push(tmp_path / "b", ObjectStore(bucket), unheard)
    log.close()
    with local(bucket, None) as path:
        assert rehearse(open_backup(str(path), LATEST, None))[0].index == 10


def make_archive(directory):
    """A backup with an image of ten entries, and no log."""
    archive = Archive.of_cluster(directory, CLUSTER, None)
    make_image(archive, Twin().apply(history(1, 10)), "image", START_MS + 10 * SECOND_MS)
    return archive


def test_what_is_damaged_there_is_named(tmp_path, bucket):
    archive = backed_up(tmp_path / "b", 10, 30)
    store = ObjectStore(bucket)
    push(tmp_path / "b", store, unheard)
    part = archive.folder / "image/group-0-0001.rows"
    part.write_bytes(part.read_bytes()[:-9])
    store.upload(part, f"{FOLDER}/image/{part.name}")
    with local(bucket, None) as path, pytest.raises(BackupError, match=part.name):
        rehearse(open_backup(str(path), LATEST, None))


def test_an_image_that_is_half_copied_is_none(tmp_path, bucket, monkeypatch):
    backed_up(tmp_path / "b", 10, 30)
    store = ObjectStore(bucket)
    with monkeypatch.context() as patch:
        patch.setattr(store, "upload", _first_two(store.upload))
        with pytest.raises(BackupError):
            push(tmp_path / "b", store, unheard)
    with pytest.raises(BackupError, match="no image"), local(bucket, None):
        pass
    push(tmp_path / "b", store, unheard)
    with local(bucket, None) as path:
        assert rehearse(open_backup(str(path), LATEST, None))[0].index == 30


def test_a_store_that_loses_a_part_gets_no_manifest(tmp_path, bucket, monkeypatch):
    """Nor one that keeps half of it; one that only lists late is waited for."""
    backed_up(tmp_path / "b", 10, 30)
    store = ObjectStore(bucket)
    monkeypatch.setattr(object_store, "LISTING_SECONDS", 0.0)
    upload, sizes, part = store.upload, store.sizes, f"{FOLDER}/image/group-0-0001.rows"
    with monkeypatch.context() as patch:
        patch.setattr(store, "upload", lambda path, name: None if name == part else upload(path, name))
        with pytest.raises(BackupError, match=f"1 of 2 files .* such as {part}: repeat it"):
            push(tmp_path / "b", store, unheard)
    assert part not in sizes()
    assert f"{FOLDER}/image/manifest.json" not in sizes()
    late: list[dict[str, int]] = [{}, {}]
    with monkeypatch.context() as patch:
        patch.setattr(store, "sizes", lambda: late.pop() if late else sizes())
        push(tmp_path / "b", store, unheard)
    with local(bucket, None) as path:
        assert rehearse(open_backup(str(path), LATEST, None))[0].index == 30


def test_a_file_that_cannot_be_written_and_a_store_that_is_away(tmp_path, bucket, monkeypatch, capsys):
    backed_up(tmp_path / "b", 10, 30)
    store = ObjectStore(bucket)
    push(tmp_path / "b", store, unheard)
    (tmp_path / "file").touch()
    with pytest.raises(BackupError, match="file: "):
        store.download(f"{FOLDER}/log-0/position", tmp_path / "file" / "position")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert main(["backup", "list", bucket]) == 1
    assert "Could not connect to the endpoint URL" in capsys.readouterr().err


def _first_two(upload):
    left = [None, None]

    def limited(path, name):
        if not left:
            raise BackupError("the link is down")
        left.pop()
        upload(path, name)

    return limited


def test_the_command_line(tmp_path, bucket, capsys):
    backed_up(tmp_path / "b", 10, 30)
    assert main(["backup", "copy", str(tmp_path / "b"), "--to", bucket]) == 0
    assert main(["backup", "list", bucket, "--json"]) == 0
    told = capsys.readouterr().out
    listed = json.loads(told[told.index("{") :])["clusters"][0]
    assert [image["name"] for image in listed["images"]] == ["image"]
    assert main(["backup", "verify", bucket]) == 0
    assert "20 log entries" in capsys.readouterr().out
    assert (
        main(["restore", bucket, "--data-dir", str(tmp_path / "data"), "--id", "K1", "--yes", "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["groups"][0]["index"] == 30


@pytest.mark.parametrize(
    ("url", "text"), [("s3://", "write s3://BUCKET"), ("s3://no-such-bucket-here", "NoSuchBucket")]
)
def test_a_wrong_address(bucket, url, text, capsys):
    assert main(["backup", "list", url]) in (1, 2)
    assert text in capsys.readouterr().err


def test_an_archive_of_nothing_copies_nothing(tmp_path, bucket):
    Archive.of_cluster(tmp_path, CLUSTER, None).folder.mkdir()
    assert push(tmp_path, ObjectStore(bucket), unheard) == 0
