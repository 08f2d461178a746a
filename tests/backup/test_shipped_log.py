"""The shipped log: what is read is what was shipped, in order, after crashes, gaps and takeovers."""

from pathlib import Path

import pytest

from kraft.backup import shipped_log
from kraft.backup.errors import BackupError, DamagedBackup
from kraft.backup.frames import FrameFileWriter
from kraft.backup.shipped_log import LogPosition, ShippedLog
from tests.backup.sources import CLUSTER, history

ENTRIES = history(1, 60)
AFTER_10 = LogPosition(10, 2, ENTRIES[9].stamp)


@pytest.fixture
def folder(tmp_path):
    return tmp_path


@pytest.fixture(autouse=True)
def closed():
    """Files that a test leaves open, as a process does that is killed."""
    yield
    while OPEN:
        OPEN.pop().close()


OPEN: list[ShippedLog] = []


def log_in(folder):
    OPEN.append(ShippedLog(folder, CLUSTER, 0, None))
    return OPEN[-1]


def shipped(folder, first, last):
    log = log_in(folder)
    if first == 11:
        log.begin(AFTER_10)
    else:
        assert log.resume()
    for start in range(first - 1, last, 5):
        log.append(ENTRIES[start : min(last, start + 5)])
    log.close()
    return log


def test_nothing_was_ever_shipped(folder):
    assert log_in(folder).reach is None
    assert list(log_in(folder).entries(AFTER_10)) == []
    assert not log_in(folder).resume()


def test_what_was_shipped_is_read(folder):
    shipped(folder, 11, 60)
    assert list(log_in(folder).entries(AFTER_10)) == ENTRIES[10:]
    assert list(log_in(folder).entries(LogPosition(33, 2, 0))) == ENTRIES[33:]


def test_another_process_goes_on(folder):
    shipped(folder, 11, 30)
    shipped(folder, 31, 60)
    assert list(log_in(folder).entries(AFTER_10)) == ENTRIES[10:]


@pytest.mark.parametrize("left", range(1, 200, 17))
def test_a_process_that_was_killed_in_the_middle_of_a_frame(folder, left):
    """Its torn end is no damage; what it had reported as shipped is there."""
    shipped(folder, 11, 30)
    (segment,) = (folder / "log-0").glob("*.segment")
    whole = segment.read_bytes()
    log = log_in(folder)
    assert log.resume()
    segment.write_bytes(whole + whole[-220:][:left])
    assert list(log_in(folder).entries(AFTER_10)) == ENTRIES[10:30]
    shipped(folder, 31, 60)
    assert list(log_in(folder).entries(AFTER_10)) == ENTRIES[10:]


def test_a_torn_end_in_front_of_the_position_is_damage(folder):
    shipped(folder, 11, 30)
    (segment,) = (folder / "log-0").glob("*.segment")
    segment.write_bytes(segment.read_bytes()[:-40])
    with pytest.raises(DamagedBackup, match=f"{segment.name}: it is truncated"):
        list(log_in(folder).entries(AFTER_10))
    assert not log_in(folder).resume()


def test_a_gap_ends_the_log_of_the_older_image(folder):
    shipped(folder, 11, 30)
    log = log_in(folder)
    log.begin(LogPosition(40, 2, ENTRIES[39].stamp))
    log.append(ENTRIES[40:50])
    log.close()
    old, new = log_in(folder), log_in(folder)
    assert list(old.entries(AFTER_10)) == ENTRIES[10:30]
    assert old.gap
    assert list(new.entries(LogPosition(40, 2, 0))) == ENTRIES[40:50]
    assert not new.gap


def test_a_gap_of_an_empty_log(folder):
    shipped(folder, 11, 30)
    log_in(folder).begin(LogPosition(40, 2, 0))
    old = log_in(folder)
    assert list(old.entries(AFTER_10)) == ENTRIES[10:30]
    assert old.gap
    again = log_in(folder)
    assert again.resume()
    assert again.position is not None
    assert again.position.index == 40
    again.append(ENTRIES[40:50])
    again.close()
    old = log_in(folder)
    assert list(old.entries(AFTER_10)) == ENTRIES[10:30]
    assert old.gap  # still: it is no damage
    assert list(log_in(folder).entries(LogPosition(40, 2, 0))) == ENTRIES[40:50]


@pytest.mark.parametrize("before", [0, 30])
def test_who_reads_while_the_log_is_written_finds_no_damage(folder, monkeypatch, before):
    """After each operation on a file: what was shipped is there, up to a gap, and never an error."""
    if before:
        shipped(folder, 11, before)
    first = AFTER_10 if not before else LogPosition(40, 2, ENTRIES[39].stamp)
    looks = []

    def look():
        reader = log_in(folder)
        reach = reader.reach
        found = list(reader.entries(AFTER_10))
        assert found == ENTRIES[10 : 10 + len(found)]
        looks.append((None if reach is None else reach.index, len(found)))

    _after_each_operation(monkeypatch, look)
    log = log_in(folder)
    log.begin(first)
    log.append(ENTRIES[first.index : first.index + 5])
    log.note(5)
    log.close()
    log.append(ENTRIES[first.index + 5 : first.index + 10])
    log.close()
    assert len(set(looks)) > 2
    if not before:
        log.prune(15)
        assert list(log_in(folder).entries(LogPosition(15, 2, 0))) == ENTRIES[15:20]


def _after_each_operation(monkeypatch, look):
    for name in ("replace_file", "sync_folder"):
        monkeypatch.setattr(shipped_log, name, _followed(getattr(shipped_log, name), look))
    for name in ("sync", "close"):
        monkeypatch.setattr(FrameFileWriter, name, _followed(getattr(FrameFileWriter, name), look))


def _followed(operation, look):
    def run(*arguments, **options):
        result = operation(*arguments, **options)
        look()
        return result

    return run


def test_what_is_shipped_while_the_log_is_read_is_no_damage(folder):
    log = shipped(folder, 11, 20)
    entries = log_in(folder).entries(AFTER_10)
    found = [next(entries)]
    assert log.resume()
    log.append(ENTRIES[20:30])
    log.close()
    assert log.resume()
    log.append(ENTRIES[30:40])
    found += entries
    assert found[:10] == ENTRIES[10:20]
    assert found == ENTRIES[10 : 10 + len(found)]


def test_entries_that_do_not_follow_are_refused(folder):
    log = log_in(folder)
    log.begin(AFTER_10)
    with pytest.raises(BackupError, match="entry 12 does not continue"):
        log.append(ENTRIES[11:13])


def test_old_segments_go(folder):
    for first in (11, 21, 31, 41):
        shipped(folder, first, first + 9)
    log = log_in(folder)
    log.prune(30)
    names = sorted(path.name for path in (folder / "log-0").glob("*.segment"))
    assert [int(name[:16]) for name in names] == [31, 41]
    assert list(log.entries(LogPosition(30, 2, 0))) == ENTRIES[30:50]


def test_after_an_older_image_pruned_entries_are_a_gap(folder):
    """Of an image that was given a name, and stays longer than the log after it."""
    for first in (11, 21, 31, 41):
        shipped(folder, first, first + 9)
    log_in(folder).prune(30)
    log = log_in(folder)
    assert list(log.entries(AFTER_10)) == []
    assert log.gap
    (folder / "log-0" / f"{31:016}.segment").unlink()
    with pytest.raises(DamagedBackup, match="missing"):
        list(log_in(folder).entries(AFTER_10))
    (folder / "log-0" / "pruned").write_bytes(b"{}")
    with pytest.raises(DamagedBackup, match="pruned"):
        list(log_in(folder).entries(AFTER_10))


def test_a_log_that_is_being_pruned_when_the_process_ends_is_sound(folder, monkeypatch):
    """What was to be removed and is still there counts."""
    for first in (11, 21, 31):
        shipped(folder, first, first + 9)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", _killed)
        with pytest.raises(KeyboardInterrupt):
            log_in(folder).prune(30)
    log = log_in(folder)
    assert list(log.entries(AFTER_10)) == ENTRIES[10:40]
    assert not log.gap


def _killed(_self):
    raise KeyboardInterrupt


def test_an_entry_of_another_history_is_noticed(folder):
    shipped(folder, 11, 30)
    with pytest.raises(DamagedBackup, match="continues an entry of term 2, not 1"):
        list(log_in(folder).entries(LogPosition(10, 1, 0)))
