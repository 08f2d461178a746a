"""Whose number stands in a pid file decides whether it may be replaced."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kraft.process.pid_file import PidFile, PidFileRefused


@pytest.fixture
def path(tmp_path):
    return tmp_path / "twistd.pid"


def refused(path):
    with pytest.raises(PidFileRefused) as told:
        PidFile(str(path)).clear()
    assert path.exists()
    assert str(told.value).startswith(f"pid file {path}: ")
    assert str(told.value).endswith("; name another one: twistd --pidfile=FILE")
    return str(told.value)


@pytest.fixture
def program(tmp_path):
    """`program(word...)`: a live process with these words in its command line, ended with the test."""
    made = []

    def run(*words):
        waits = "import sys; print(flush=True); sys.stdin.read()"
        made.append(
            subprocess.Popen(
                [sys.executable, "-c", waits, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        )
        assert made[-1].stdout is not None
        made[-1].stdout.readline()
        return made[-1].pid

    yield run
    for process in made:
        with process:
            process.kill()


@pytest.mark.parametrize(
    "text",
    ["", "4194999", str(os.getpid()), str(os.getppid()), "1"],
    ids=["empty", "no process", "our own", "our parent", "init"],  # the same in every worker of pytest-xdist
)
def test_the_file_of_a_dead_process_is_removed(path, text):
    """Also if its number is ours, or that of a program that has nothing to do with it, or is missing."""
    path.write_text(text)
    PidFile(str(path)).clear()
    assert not path.exists()


def test_no_file_is_no_trouble(path):
    PidFile(str(path)).clear()
    PidFile("").clear()
    PidFile("").hold()
    PidFile(str(path)).hold()
    assert not path.exists()


def test_the_file_of_a_live_node_stays(path):
    """It is locked, whatever its number is."""
    path.write_text("4194999")
    PidFile(str(path)).hold()
    assert "process 4194999 uses it: stop it with kill 4194999" in refused(path)


def test_the_number_of_another_node_does_not_count(path, program):
    """As after a restart of a container with two: each would find the other under its old number."""
    path.write_text(str(program("/opt/kraft/bin/twistd", "kraft")))
    PidFile(str(path)).clear()
    assert not path.exists()


def test_another_program_under_twistd_keeps_its_file(path, program):
    """Unless it has started after the file was written: then it only has the same number."""
    pid = program("/usr/bin/twistd3", "web")
    path.write_text(str(pid))
    assert f"process {pid}, another program, uses it" in refused(path)
    before = time.time() - 60
    os.utime(path, (before, before))
    PidFile(str(path)).clear()
    assert not path.exists()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: os.mkfifo(path), "not a regular file"),
        (lambda path: path.write_text("root:x:0:0\n"), "something other than a process id"),
    ],
)
def test_what_is_no_pid_file_stays(path, make, words):
    make(path)
    assert words in refused(path)


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(PidFileRefused, match="No such file or directory; name another"):
        PidFile(str(Path(tmp_path, "none", "twistd.pid"))).clear()
