"""Subcommands in a terminal of 60 columns: the words of a pipe, in colours, and nothing that is too wide."""

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.cli.test_recover import survivor  # noqa: F401  a fixture
from tests.cluster.terminal import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

KRAFT = Path(sysconfig.get_path("scripts")) / "kraft"
COLUMNS = 60
SECTIONS = """
node: {id: K1, data: data}
peer: {listen: "tcp:0:interface=127.0.0.1", advertise: "127.0.0.1:1"}
client: {listen: "tcp:0:interface=127.0.0.1", advertise: "127.0.0.1:2"}
http: {listen: ""}
"""


def both(*words, folder, **environment):
    """The terminal after the command, and what a pipe got."""
    piped = subprocess.run(
        [KRAFT, *words], cwd=folder, capture_output=True, text=True, timeout=60, env=os.environ | environment
    )
    directory = Path.cwd()
    os.chdir(folder)
    try:
        terminal = Terminal([KRAFT, *words], environment, size=(60, COLUMNS))
    finally:
        os.chdir(directory)
    try:
        assert terminal.end() == piped.returncode
    finally:
        terminal.close()
    return terminal, piped.stdout


def words_of(text):
    return text.split()


def test_every_problem_of_a_configuration(tmp_path):
    (tmp_path / "kraft.yaml").write_text(SECTIONS + "raft: {electon_timeout: 1s}\n")
    terminal, piped = both("check-config", "kraft.yaml", folder=tmp_path)
    assert words_of("\n".join(terminal.lines)) == words_of(piped)
    assert b"\x1b[1mraft.electon_timeout" in terminal.raw


def test_doctor_breaks_sentences_but_no_command(tmp_path):
    (tmp_path / "K1.yaml").write_text(SECTIONS)
    terminal, piped = both("doctor", "K1.yaml", folder=tmp_path)
    command = next(line.strip() for line in piped.splitlines() if "next: systemctl start" in line)
    assert len(command) > COLUMNS
    assert command in terminal.text  # in which a line that the terminal itself broke is one line
    told = [line for line in terminal.lines if line.startswith(" " * 20) and "next:" not in line]
    assert told  # a sentence goes on below its beginning
    assert b"\x1b[32mok " in terminal.raw
    assert "checking" not in "\n".join(terminal.lines)  # the sign of life is gone


def test_recover_shows_what_is_kept_and_lost(survivor, monkeypatch):  # noqa: F811  the fixture
    terminal, piped = both("recover", "--dry-run", ".", folder=survivor)
    assert words_of("\n".join(terminal.lines)) == words_of(piped)
    assert b"\x1b[32mkept" in terminal.raw
    assert b"\x1b[1;31mlost" in terminal.raw
    assert "  among equal terms" in "\n".join(terminal.lines)
