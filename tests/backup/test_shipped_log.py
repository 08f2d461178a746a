"""The shipped log: what is read is what was shipped, in order, after crashes, gaps and takeovers."""

from pathlib import Path

import pytest

from kraft.backup.errors import BackupError, DamagedBackup
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
