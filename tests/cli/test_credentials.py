"""As which user the commands log in."""

import os
import subprocess
import sys

import pytest

from kraft.cli.credentials import PASSWORD, USER, LoginCredentials, ask_for_password, credentials, refusal
from kraft.resp.values import Error


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in ("KRAFT_USER", "KRAFT_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_password_there_is_no_login(monkeypatch):
    monkeypatch.setenv("KRAFT_USER", "root")
    assert credentials() is None


def test_the_environment_names_user_and_password(monkeypatch):
    monkeypatch.setenv("KRAFT_PASSWORD", "secret")
    assert credentials() == LoginCredentials("default", "secret")
    monkeypatch.setenv("KRAFT_USER", "root")
    found = credentials()
    assert found is not None
    assert found.words == [b"AUTH", b"root", b"secret"]


def test_a_password_is_asked_for_unless_it_is_there(monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda prompt: prompt + "typed")
    ask_for_password("root")
    assert credentials() == LoginCredentials("root", "password of root: typed")
    monkeypatch.setattr("getpass.getpass", lambda _: pytest.fail("asked again"))
    ask_for_password("app")
    assert credentials() == LoginCredentials("app", "password of root: typed")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Error("NOAUTH HELLO must be called"), "set KRAFT_USER and KRAFT_PASSWORD"),
        (Error("WRONGPASS invalid"), "wrong password of default"),
        (Error("ERR unknown command"), ""),
        ({}, ""),
    ],
)
def test_a_refusal_names_the_way_in(reply, reason):
    assert reason in refusal(reply)
    assert bool(refusal(reply)) is bool(reason)


@pytest.mark.parametrize("stdin", ["get a\n", ""])
def test_without_a_terminal_no_command_is_taken_for_the_password(stdin):
    """In a session of its own, a process has no terminal: as from cron."""
    command = [sys.executable, "-m", "kraft.cli.main", "shell", "--user", "root"]
    assert {USER, PASSWORD}.isdisjoint(os.environ)
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, start_new_session=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].endswith(
        "no password for root: set KRAFT_PASSWORD, as no terminal can be asked"
    )
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
