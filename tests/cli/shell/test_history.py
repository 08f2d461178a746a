"""The history file."""

import os

import pytest

from kraft.cli.shell.history import ENTRIES_MAX, HistoryFile, default_path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "kraft" / "shell_history"


def test_entries_are_kept_for_the_next_shell(path):
    """In a file that only its user can read, in a directory that only they can enter."""
    history = HistoryFile(path)
    assert history.append("get a")
    assert history.append("set a \u00fc")
    assert HistoryFile(path).entries == ["get a", "set a \u00fc"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_others_could_read_is_closed_to_them(path):
    path.parent.mkdir(parents=True)
    path.write_text("get a\n")
    path.chmod(0o644)
    assert HistoryFile(path).entries == ["get a"]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "entry", ["", " set hidden 1", "auth secret", "AUTH user secret", "hello 3 auth u p", "config set x y"]
)
def test_secrets_and_hidden_lines_are_not_kept(path, entry):
    assert not HistoryFile(path).append(entry)
    assert path.read_text() == ""


def test_a_repetition_is_kept_once(path):
    history = HistoryFile(path)
    assert [history.append(entry) for entry in ("get a", "get a", "get b", "get a")] == [
        True,
        False,
        True,
        True,
    ]


def test_two_shells_do_not_overwrite_each_other(path):
    first, second = HistoryFile(path), HistoryFile(path)
    first.append("get a")
    second.append("get b")
    assert HistoryFile(path).entries == ["get a", "get b"]


def test_the_file_does_not_grow_for_ever(path):
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"get {number}\n" for number in range(3 * ENTRIES_MAX)))
    assert len(HistoryFile(path).entries) == ENTRIES_MAX
    assert path.read_text().splitlines()[-1] == f"get {3 * ENTRIES_MAX - 1}"
    assert len(path.read_text().splitlines()) == ENTRIES_MAX


def test_a_file_that_cannot_be_used_is_no_error(tmp_path):
    """A home without a place for it, a directory in its place, no home at all."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "kraft" / "shell_history", tmp_path, None):
        history = HistoryFile(path)
        assert history.append("get a")
        assert history.entries == ["get a"]


def test_bytes_that_are_no_text_are_read(path):
    path.parent.mkdir(parents=True)
    path.write_bytes(b"get \xff\n")
    assert len(HistoryFile(path).entries) == 1


def test_the_place_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "kraft" / "shell_history"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path() == tmp_path / ".local/state/kraft/shell_history"
    assert os.environ["HOME"] == str(tmp_path)
