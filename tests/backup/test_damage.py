"""Damage of every kind is refused, and what is damaged is named. Nothing of it is ever restored."""

import re
import shutil
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.backup.backup_key import BackupKey
from kraft.backup.errors import BackupError, DamagedBackup, WrongKey
from kraft.backup.frames import MAGIC
from kraft.backup.image import verify
from kraft.moment import LATEST
from kraft.storage.offline.restoration import open_backup, rehearse
from tests.backup.sources import backed_up

KEY = BackupKey(b"k" * 32)


@pytest.fixture(scope="module", params=[None, KEY], ids=["plain", "encrypted"])
def sound(request, tmp_path_factory):
    """A backup with an image of two parts at 40 and the log up to 80, in three segments; its key."""
    pytest.importorskip("cryptography") if request.param else None
    directory = tmp_path_factory.mktemp("sound")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kraft.backup.image.PART_BYTES", 500)
        patch.setattr("kraft.backup.shipped_log.SEGMENT_BYTES", 900)
        archive = backed_up(directory / "backup", 40, 80, request.param)
    files = [path for path in archive.folder.rglob("*") if path.is_file()]
    assert sum(path.suffix == ".rows" for path in files) >= 2, files
    assert sum(path.suffix == ".segment" for path in files) >= 3, files
    return archive, request.param


@pytest.fixture
def copy(sound, tmp_path):
    archive, key = sound
    folder = tmp_path / archive.folder.name
    shutil.copytree(archive.folder, folder)
    return folder, key


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")


def read_all(folder, key):
    """What a restore would read, and what `kraft backup verify` reads."""
    verify(folder / "image", key)
    return rehearse(open_backup(str(folder), LATEST, key))


def test_the_sound_backup_is_read(copy):
    folder, key = copy
    (target,) = read_all(folder, key)
    assert (target.index, target.entries) == (80, 40)


@given(data=st.data())
def test_one_flipped_bit_anywhere_is_noticed_and_its_file_named(sound, tmp_path_factory, data):
    archive, key = sound
    folder = tmp_path_factory.mktemp("flipped") / archive.folder.name
    shutil.copytree(archive.folder, folder)
    path = data.draw(st.sampled_from(files_of(folder)))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.raises(BackupError) as raised:
        read_all(folder, key)
    assert path.name in str(raised.value)
    shutil.rmtree(folder)


def spans(path):
    """What the file consists of: the name of each part, where it begins, and where it ends."""
    content = path.read_bytes()
    if path.suffix not in (".rows", ".segment"):
        lines = content.splitlines(keepends=True)
        ends = list(accumulate(map(len, lines)))
        return [(line.strip().decode(), end - len(line), end) for line, end in zip(lines, ends, strict=True)]
    found = [("magic", 0, len(MAGIC))]
    at, number = len(MAGIC), 0
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        for what, size in (("length", 4), ("checksum", 4), ("kind", 1), ("data", length)):
            found.append((f"{what} of frame {number}", at, at + size))
            at += size
        number += 1
    wanted = re.compile(f"magic|.* frame (0|1|{number - 1})")  # those in between are like frame 1
    return [(what, first, end) for what, first, end in found if end > first and wanted.fullmatch(what)]


def damages(path):
    """(what was done, the content then), for every part that the file consists of."""
    content = path.read_bytes()
    for what, first, end in spans(path):
        middle = (first + end) // 2
        yield (
            f"{what}: a bit flipped",
            content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :],
        )
        yield f"{what}: zeros", content[:first] + bytes(end - first) + content[end:]
        yield f"{what}: cut out", content[:first] + content[end:]
        yield f"{what}: twice", content[:end] + content[first:]
        yield f"{what}: cut off there", content[:first]
        yield f"{what}: cut off in the middle", content[:middle]
    yield "more at the end", content + b"more"


def refusal(folder, key, outcome):
    """Why nothing is read; '' when `outcome` is."""
    try:
        assert read_all(folder, key) == outcome
    except BackupError as error:
        return str(error)
    return ""


def test_damage_of_every_part_of_every_file_is_refused_by_its_name(copy):
    """What follows the entries in a segment is none: a process that was killed may have left it."""
    folder, key = copy
    outcome, refused = read_all(folder, key), 0
    for path in files_of(folder):
        sound = path.read_bytes()
        for done, content in list(damages(path)):
            path.write_bytes(content)
            told = refusal(folder, key, outcome)
            unharmed = content == sound or (path.suffix == ".segment" and content.startswith(sound))
            assert path.name in told or (unharmed and not told), (path.name, done, told)
            refused += bool(told)
        path.write_bytes(sound)
    assert refused > 500


def test_frames_that_changed_places_within_a_file_are_noticed(copy):
    folder, key = copy
    for path in files_of(folder):
        if path.suffix not in (".rows", ".segment"):
            continue
        sound = path.read_bytes()
        begins = [first for what, first, _ in spans(path) if what.startswith("length")]
        header, one, others = (sound[a:b] for a, b in pairwise([*begins, len(sound)]))
        path.write_bytes(MAGIC + header + others + one)
        with pytest.raises(DamagedBackup, match=path.name):
            read_all(folder, key)
        path.write_bytes(sound)


@pytest.mark.parametrize("what", ["image", "log-0"])
def test_what_another_cluster_has_made_is_noticed(copy, tmp_path, monkeypatch, what):
    """A folder of the same name, with the same history, in the place of its own."""
    folder, key = copy
    monkeypatch.setattr("tests.backup.sources.CLUSTER", "d" * 32)
    other = backed_up(tmp_path / "other", 40, 80, key)
    assert other.folder.name != folder.name
    shutil.rmtree(folder / what)
    shutil.copytree(other.folder / what, folder / what)
    with pytest.raises(BackupError, match=what):
        rehearse(open_backup(str(folder), LATEST, key))


def test_a_part_of_an_image_of_another_cluster_is_noticed(copy, tmp_path, monkeypatch):
    folder, key = copy
    monkeypatch.setattr("tests.backup.sources.CLUSTER", "d" * 32)
    other = backed_up(tmp_path / "other", 40, 80, key)
    part = next(path for path in files_of(folder) if path.suffix == ".rows")
    shutil.copy(other.folder / "image" / part.name, part)
    with pytest.raises(DamagedBackup, match=f"{part.name}: it is another part, or one of another image or"):
        read_all(folder, key)


@given(data=st.data())
def test_a_file_cut_anywhere_is_noticed_and_named(sound, tmp_path_factory, data):
    archive, key = sound
    folder = tmp_path_factory.mktemp("cut") / archive.folder.name
    shutil.copytree(archive.folder, folder)
    path = data.draw(st.sampled_from(files_of(folder)))
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(BackupError) as raised:
        read_all(folder, key)
    assert path.name in str(raised.value)
    shutil.rmtree(folder)


def test_every_missing_file_is_noticed(copy):
    folder, key = copy
    for path in files_of(folder):
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(BackupError) as raised:
            read_all(folder, key)
        assert path.name in str(raised.value)
        path.write_bytes(content)
    read_all(folder, key)


@pytest.mark.parametrize("suffix", [".rows", ".segment"])
def test_files_that_changed_places_are_noticed(copy, suffix):
    folder, key = copy
    paths = [path for path in files_of(folder) if path.suffix == suffix]
    for one, other in pairwise(paths):
        contents = one.read_bytes(), other.read_bytes()
        one.write_bytes(contents[1])
        other.write_bytes(contents[0])
        with pytest.raises(DamagedBackup, match=f"({one.name}|{other.name})"):
            read_all(folder, key)
        one.write_bytes(contents[0])
        other.write_bytes(contents[1])


def test_a_renamed_segment_is_noticed(copy):
    folder, key = copy
    last = [path for path in files_of(folder) if path.suffix == ".segment"][-1]
    last.rename(last.with_name(f"{int(last.stem) + 1:016}.segment"))
    with pytest.raises(DamagedBackup, match=r"\.segment: "):
        read_all(folder, key)


def test_a_part_of_another_image_is_noticed(copy, tmp_path):
    folder, key = copy
    other = backed_up(tmp_path / "other", 30, 40, key)
    part = next(path for path in files_of(folder) if path.suffix == ".rows")
    shutil.copy(other.folder / "image" / part.name, part)
    with pytest.raises(DamagedBackup, match=part.name):
        read_all(folder, key)


def test_another_key_is_told_apart_from_damage(copy):
    folder, key = copy
    if key is None:
        with pytest.raises(WrongKey, match="not encrypted"):
            read_all(folder, KEY)
    else:
        with pytest.raises(WrongKey, match="encrypted with another key"):
            read_all(folder, BackupKey(b"x" * 32))
        with pytest.raises(BackupError, match="is encrypted"):
            read_all(folder, None)


def test_what_comes_before_the_damage_can_still_be_restored(copy):
    folder, key = copy
    last = [path for path in files_of(folder) if path.suffix == ".segment"][-1]
    last.unlink()
    with pytest.raises(DamagedBackup, match="restore that with --at"):
        rehearse(open_backup(str(folder), LATEST, key))


def test_nothing_readable_is_in_an_encrypted_backup(copy):
    folder, key = copy
    found = [path for path in files_of(folder) if b"value 7" in path.read_bytes()]
    assert bool(found) == (key is None)
