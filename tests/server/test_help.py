"""What people who type into nc get: help, and the command that they may have meant."""

import pytest

from kraft.server.commands.command import all_specs
from kraft.server.commands.table import TABLE
from kraft.server.suggestion import closest
from tests.server.fakes import Talk, encode

NAMES = [name.decode() for name in TABLE]


def text(reply: bytes) -> str:
    header, _, rest = reply.partition(b"\r\n")
    assert header == b"$%d" % (len(rest) - 2)
    return rest[:-2].decode()


@pytest.mark.parametrize("line", [b"help\n", b"HELP\r\n", b"?\n", b"  Help  \n"])
def test_help_is_short_and_names_all_commands(client: Talk, line: bytes) -> None:
    shown = text(client.ask(line))
    lines = shown.split("\n")
    assert len(lines) < 24
    assert max(map(len, lines)) < 80
    assert "set greeting hello" in shown
    assert {name for name in NAMES if not f" {shown} ".replace("\n", " ").count(f" {name} ")} == set()


def test_help_is_readable_without_length_prefixes(client: Talk) -> None:
    client.ask(b"kraft output plain\n")
    assert client.ask(b"help get\n") == b"GET key\n    Returns the value of a key.\n"
    assert (
        client.ask(b"gte a\n")
        == b"ERR unknown command 'gte', with args beginning with: 'a' - did you mean GET?\n"
    )


def test_help_of_a_command_a_family_and_a_subcommand(client: Talk) -> None:
    assert text(client.run("HELP", "set")).startswith(
        "SET key value [NX|XX|IFEQ value|IFNE value|IFDEQ digest|IFDNE digest]"
    )
    assert text(client.run("?", "kraft", "add")).startswith(
        "KRAFT ADD id host raft-port [LEARNER] [FORCE]\n    Makes"
    )
    family = text(client.run("help", "CLIENT"))
    assert "CLIENT KILL ip:port" in family
    assert "\nCLIENT ID\n    Returns the id of this connection.\n" in family
    assert text(client.run("help", "client", "nosuch")) == family
    assert text(client.run("help", "get", "more")) == text(client.run("help", "get"))


def test_help_of_something_unknown(client: Talk) -> None:
    assert client.run("HELP", "GTE") == b"-ERR no command 'GTE' - did you mean GET?\r\n"
    assert client.run("HELP", "xyzzy") == b"-ERR no command 'xyzzy', try HELP\r\n"
    assert client.run("HELP", b"\xff\r\n", b"\x00") == b"-ERR no command '\xff  ', try HELP\r\n"


@pytest.mark.parametrize("spec", all_specs(TABLE), ids=lambda spec: spec.name)
def test_every_command_has_help(client: Talk, spec) -> None:
    shown = text(client.run("HELP", *spec.name.split("|")))
    assert spec.subcommands or shown.startswith(spec.name.replace("|", " ").upper())
    assert " ".join(spec.summary.split()) in " ".join(shown.split())


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("GTE", "GET"), ("gte", "GET"), ("egt", "GET"), ("gett", "GET"), ("seet", "SET"), ("ste", "SET"),
        ("icnr", "INCR"), ("pnig", "PING"), ("infp", "INFO"), ("exsts", "EXISTS"), ("krfat", "KRAFT"),
        ("heklp", "HELP"), ("GET", ""), ("G", ""), ("", ""), ("?", ""), ("LPUSH", ""), ("HSET", ""),
        ("LSET", ""), ("SSCAN", ""), ("HGET", ""), ("ZINCRBY", ""), ("GETEX", ""), ("HSETNX", ""),
        ("xyzzy", ""), ("x" * 10_000, ""),
    ],
)  # fmt: skip
def test_one_slip_is_recognised_and_other_commands_of_redis_are_not_mistyped(typed: str, meant: str) -> None:
    assert closest(typed, NAMES) == meant


def test_an_unknown_command_keeps_the_text_that_clients_look_for(client: Talk) -> None:
    assert client.run("GTE", "a") == (
        b"-ERR unknown command 'GTE', with args beginning with: 'a' - did you mean GET?\r\n"
    )
    assert (
        client.run("gte") == b"-ERR unknown command 'gte', with args beginning with: - did you mean GET?\r\n"
    )
    assert client.run("HSET", "a") == b"-ERR unknown command 'HSET', with args beginning with: 'a' \r\n"
    assert client.ask(encode("GTE") * 2 + encode("PING")).endswith(b"+PONG\r\n")


@pytest.mark.parametrize(
    ("request_", "meant"),
    [("CLIENT LSIT", "LIST"), ("KRAFT STATSU", "STATUS"), ("COMMAND INOF", "INFO"), ("CONFIG GTE x", "GET")],
)
def test_a_mistyped_subcommand_too(client: Talk, request_: str, meant: str) -> None:
    family, word = request_.split()[:2]
    expected = f"-ERR unknown subcommand '{word}'. Try {family} HELP. Did you mean {meant}?\r\n"
    assert client.run(*request_.split()) == expected.encode()
