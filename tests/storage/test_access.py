"""Files that cannot be used: the line names the file, its owner and mode, and the command that mends it.

Root may read and write everything, so the tests take that right from a process of their own.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kraft.storage import access
from kraft.storage.access import explain_denial, node_files, obstacle
from kraft.storage.damage import DAMAGE_FILE
from kraft.storage.log.files import HIGHWATER_FILE, LOG_FILE
from kraft.storage.sqlite import explain

NAMES = (LOG_FILE, "log.db-wal", HIGHWATER_FILE, DAMAGE_FILE, "lock", "ballast", "state-0-1.db")
OPEN = """
import sys
from kraft.storage.directory import prepare_directory
from kraft.storage.errors import StorageError
try:
    prepare_directory(sys.argv[1])
except StorageError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data"
    path.mkdir(mode=0o700)
    for name in (*NAMES, "notes.txt"):
        (path / name).touch(0o600)
    return path


@pytest.fixture
def said(need):
    """`said(path)`: what a start without root's rights says of a data directory."""
    plain = ["--bounding-set", "-dac_override,-dac_read_search,-fowner"]
    drop = [need("setpriv"), *plain] if os.geteuid() == 0 else []

    def run(path):
        done = subprocess.run(
            [*drop, sys.executable, "-c", OPEN, path], capture_output=True, text=True, timeout=60
        )
        assert not done.stderr, done.stderr
        return done.stdout.strip()

    return run


USER = access.user_name(os.geteuid())


def test_what_is_in_order_is_no_obstacle(data, said):
    """A file that is not the node's may be as it likes."""
    (data / "notes.txt").chmod(0)
    (data / "lost+found").mkdir(0)
    assert said(data) == ""
    assert {path.name for path in node_files(str(data))}.isdisjoint({"notes.txt", "lost+found"})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", [0o444, 0o200, 0])
def test_a_mode_is_named_and_mended_by_the_command(data, said, name, mode):
    path = data / name
    path.chmod(mode)
    line = said(data)
    assert line == (
        f"DirectoryUnusable {path}: it belongs to {USER} and has mode {mode:04o},"
        f" and this process runs as {USER}: chmod u+rw {path}"
    )
    subprocess.run(shlex.split(line.rpartition(": ")[2]), check=True)
    assert said(data) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
@pytest.mark.parametrize("name", [LOG_FILE, "state-0-1.db"])
def test_an_owner_is_named_and_mended_by_the_command(data, said, name):
    path = data / name
    os.chown(path, 65_534, 65_534)
    line = said(data)
    assert line.endswith(
        f"{path}: it belongs to nobody and has mode 0600, and this process runs as root: chown root {path}"
    )
    subprocess.run(shlex.split(line.rpartition(": ")[2]), check=True)
    assert said(data) == ""


@pytest.mark.parametrize("mode", [0o500, 0o600, 0])
def test_the_mode_of_the_directory(data, said, mode):
    data.chmod(mode)
    assert said(data).endswith(f"chmod u+rwx {data}")
    data.chmod(0o700)


def test_a_folder_above_that_may_not_be_entered(data, said):
    data.parent.chmod(0o600)
    assert said(data).endswith(
        f"data directory {data}: {USER} may not enter {data.parent}: ls -ld {data.parent}"
    )
    data.parent.chmod(0o700)


def test_a_directory_that_may_not_be_created(data, said):
    data.parent.chmod(0o500)
    line = said(data.parent / "new" / "K1")
    assert f"it cannot be created in {data.parent}: it belongs to {USER} and has mode 0500" in line
    assert line.endswith(f"chmod u+rwx {data.parent}")
    data.parent.chmod(0o700)


def test_links_to_nowhere(data, said):
    (data / HIGHWATER_FILE).unlink()
    (data / HIGHWATER_FILE).symlink_to("/nowhere")
    assert f"{data / HIGHWATER_FILE} is a symbolic link to /nowhere, which does not exist" in said(data)
    (data / HIGHWATER_FILE).unlink()
    (data / HIGHWATER_FILE).symlink_to(data / HIGHWATER_FILE)
    assert "Too many levels of symbolic links" in said(data)
    shutil.rmtree(data)
    data.symlink_to("/nowhere/at/all")
    assert f"data directory {data} is a symbolic link to nothing: ls -l {data}" in said(data)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file(data, said, make):
    path = data / "ballast"
    path.unlink()
    make(path)
    assert said(data).endswith(f"not a file: mv {path} {path}.away")


def test_a_read_only_file_system(data, monkeypatch):
    class Found:
        f_flag = os.ST_RDONLY

    monkeypatch.setattr(os, "statvfs", lambda _: Found)
    assert explain_denial(data / LOG_FILE).startswith(
        "its file system is mounted read-only: mount -o remount,rw "
    )


def test_a_file_system_that_was_remounted_read_only(data, need):
    """As the kernel does after an error of the disk."""
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        [need("unshare"), "-m", "sh", "-c", script, "sh", data, sys.executable, OPEN],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"needs the right to mount: {done.stderr.strip()}")
    assert done.stdout.strip() == (
        f"DirectoryUnusable data directory {data}: its file system is mounted read-only:"
        f' mount -o remount,rw "$(findmnt -no TARGET -T {data})"'
    )


def test_a_denial_that_the_mode_does_not_explain(data):
    """Such as an attribute, or a security module."""
    assert explain_denial(data / LOG_FILE).startswith("permission denied, although it belongs to")


def test_an_error_of_sqlite_says_what_is_wrong_with_the_file(data):
    import apsw

    (data / "log.db-wal").unlink()
    (data / "log.db-wal").mkdir()
    error = explain(str(data / LOG_FILE), apsw.CantOpenError("unable to open database file"))
    assert str(error).startswith(f"{data / 'log.db-wal'} is a directory, not a file")
    assert obstacle(data / "none") == ""
