"""Commands from a file or a pipe: a failure names its line, and the exit status tells of it."""

import json

import pytest

from kraft.cli.shell.formats import JsonFormat
from kraft.cli.shell.script import Script
from kraft.resp.values import Error
from tests.cli.nodes import NO_LEADER

LOST = ConnectionResetError(104, "Connection reset by peer")


def run(shell, text, stop=False):
    return Script(shell, "line ", stop).run(text.splitlines(keepends=True))


def test_every_line_is_a_command(make_shell, cluster, screen):
    """Empty lines and comments are none; Windows' line ends are line ends."""
    cluster["K1"].answers = ["OK", b"1\xff"]
    assert run(make_shell(raw=True), b"set a 1\r\n\n# a comment\n  get a") == 0
    assert (screen.out, screen.err) == (b"OK\n1\xff\n", b"")
    assert cluster["K1"].received == [(b"set", b"a", b"1"), (b"get", b"a")]


@pytest.mark.parametrize(("stop", "received"), [(False, 3), (True, 1)])
def test_a_failure_names_its_line(make_shell, cluster, screen, stop, received):
    cluster["K1"].answers = [Error("ERR syntax error")]
    assert run(make_shell(raw=True), b"\nset a 1 ZZ\nset b 'x\nset b 2\nget b\n", stop) == 1
    lines = screen.err.decode().splitlines()
    assert lines[0] == "line 2: ERR syntax error"
    assert lines[1:] == (
        [] if stop else ["line 3: a quote is not closed, or a closing quote is not followed by a space"]
    )
    assert len(cluster["K1"].received) == received


def test_an_error_inside_a_transaction_is_a_failure(make_shell, cluster, screen):
    """Its reply is printed nevertheless: the other commands took effect."""
    cluster["K1"].answers = [["OK", Error("ERR not an integer")]]
    assert run(make_shell(raw=True), b"exec\n") == 1
    assert screen.out == b"OK\nERR not an integer\n"
    assert screen.err == b"line 1: ERR not an integer\n"


@pytest.mark.parametrize("answer", [LOST, Error("UNCERTAIN write may or may not be applied; check")])
def test_an_unknown_outcome_has_its_own_status(make_shell, cluster, screen, answer):
    """Also if another command failed before. The lines after it are executed."""
    cluster["K1"].answers = [Error("ERR no"), answer]
    assert run(make_shell(raw=True), b"incr a\nincr a\nget a\n") == 4
    assert "line 2: " in screen.err.decode()
    assert screen.out == b"OK\n"


def test_without_a_node_the_rest_is_not_executed(make_shell, cluster, screen):
    for node in cluster.nodes:
        node.up = False
    assert run(make_shell(raw=True), b"set a 1\nset b 2\n") == 1
    assert screen.err.decode().startswith("line 1: no node answers: ")
    assert screen.err.decode().endswith("this line and those after it were not executed\n")
    assert screen.err.count(b"\n") == 1


def test_without_a_majority_every_line_says_so(make_shell, cluster, screen):
    cluster.leader = ""
    for node in cluster.nodes:
        node.answers = [NO_LEADER] * 100
    assert run(make_shell(raw=True), b"set a 1\n") == 1
    assert screen.err == b"line 1: CLUSTERDOWN No leader for group 0\n"


def test_json_has_a_line_for_every_command(make_shell, cluster, screen):
    """Also for one that fails, so that the lines of both sides correspond."""
    shell = make_shell()
    shell.form = JsonFormat()
    cluster["K1"].answers = [Error("ERR no"), b"1"]
    assert run(shell, b"incr a b\nget a\n") == 1
    assert [json.loads(line) for line in screen.out.splitlines()] == [{"error": "ERR no"}, "1"]
    assert screen.err == b"line 1: ERR no\n"


def test_exit_ends_a_script(make_shell, cluster, screen):
    assert run(make_shell(raw=True), b"set a 1\nexit\nset b 2\n") == 0
    assert len(cluster["K1"].received) == 1
