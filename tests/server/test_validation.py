"""The checks of a request: lengths, memory, and the length of the value that it makes."""

from typing import Any, get_args

import pytest

from kraft.config.values import LimitsConfig
from kraft.kv import commands as kv
from kraft.resp.values import Error
from kraft.server.commands.spec import WriteSpec
from kraft.server.validation import Validation
from tests.server.fakes import Port, Talk, encode


def test_keys_values_and_requests_have_limits(small: Talk) -> None:
    """Each is refused in its place; the connection stays."""
    table = [
        (("SET", "k" * 8, "v" * 64), b"+OK\r\n"),
        (("SET", "k" * 9, "v"), b"-ERR key exceeds limit of 8 bytes\r\n"),
        (("GET", "k" * 9), b"-ERR key exceeds limit of 8 bytes\r\n"),
        (("SET", "k", "v" * 65), b"-ERR value exceeds limit of 64 bytes\r\n"),
        (("SET", "k", "v" * 5000), b"-ERR value exceeds limit of 64 bytes\r\n"),
        (("MSET", "a", "v" * 64, "b", "v" * 64), b"+OK\r\n"),
        (("MSET", *("k", "v" * 60) * 5), b"-ERR request exceeds limit of 256 bytes\r\n"),
        (("ECHO", "v" * 65), b"-ERR value exceeds limit of 64 bytes\r\n"),
        (("DEL", "a", "k" * 9), b"-ERR key exceeds limit of 8 bytes\r\n"),
    ]
    for words, reply in table:
        assert small.run(*words) == reply
    everything = b"".join(encode(*words) for words, _ in table)
    assert small.ask(everything) == b"".join(reply for _, reply in table)


def test_limits_hold_after_a_guard(small: Talk) -> None:
    """A prefix is no way around the limits of the command that follows it."""
    guard = ("KRAFT", "GUARD", "l", "1")
    assert small.run("KRAFT", "LOCK", "l", "1000") == b":1\r\n"
    assert small.run(*guard, "SET", "k" * 9, "v") == b"-ERR key exceeds limit of 8 bytes\r\n"
    assert small.run(*guard, "MSETEX", "1", "k" * 9, "v") == b"-ERR key exceeds limit of 8 bytes\r\n"
    assert small.run(*guard, "SET", "k" * 8, "v" * 65) == b"-ERR value exceeds limit of 64 bytes\r\n"
    assert small.run(*guard, "APPEND", "a", "v" * 60) == b":60\r\n"
    assert small.run(*guard, "APPEND", "a", "v" * 5) == b"-ERR value exceeds limit of 64 bytes\r\n"


def test_a_value_does_not_grow_over_its_limit(small: Talk) -> None:
    """However short the pieces are."""
    assert small.run("APPEND", "a", "v" * 60) == b":60\r\n"
    assert small.run("APPEND", "a", "v" * 5) == b"-ERR value exceeds limit of 64 bytes\r\n"
    assert small.run("APPEND", "a", "v" * 4) == b":64\r\n"


FIELD = kv.FieldOperation(kv.FieldAction.SET, signed=False, width=8, offset=0)
VALUES: dict[str, Any] = {
    "key": b"k", "value": b"v", "offset": 1, "amount": b"1", "bit": 1, "operator": 0, "destination": b"d",
    "source": b"s", "sources": (b"s",), "operations": (FIELD,), "replace": True,
}  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [kind for kind in get_args(kv.Command) if {"limit", "memory_limit"} & set(kind.__struct_fields__)],
    ids=lambda kind: kind.__name__,
)
def test_every_command_that_lengthens_a_value_carries_the_limit(command: Any) -> None:
    """Without its name in the gate: a command that is added later is limited like APPEND."""
    small = Port(limits=LimitsConfig(value_bytes=64, dataset_bytes=1000)).connect()
    limits = {"limit": 64, "memory_limit": 1000}
    fields = {name: VALUES[name] for name in command.__struct_fields__ if name not in limits}
    spec = WriteSpec(name="longer", arity=2, run=lambda _: command(**fields))
    validation = Validation(small.port.factory.port, {b"LONGER": spec}, {})
    segment = validation.gather([[b"LONGER", b"k"]], small.protocol.session.state, 0.0)
    carried = {name: limit for name, limit in limits.items() if name in command.__struct_fields__}
    assert segment.items == [command(**fields, **carried)]
    if "limit" in carried:
        [refused] = segment.replies([kv.CommandFailure.TOO_LARGE])
        assert refused == Error("ERR value exceeds limit of 64 bytes")


@pytest.mark.parametrize(
    "words",
    [
        ("SETBIT", "big", "8000", "1"),
        ("BITFIELD", "big", "SET", "u8", "8000", "1"),
        ("BITOP", "OR", "big", "a"),
        ("COPY", "a", "big"),
    ],
    ids=lambda words: words[0],
)
def test_a_short_command_does_not_add_more_than_the_dataset_may_have(words: tuple[str, ...]) -> None:
    """Also of many that arrive at once, before the memory is measured again."""
    client = Port(limits=LimitsConfig(dataset_bytes=6000)).connect()
    assert client.run("SET", "a", "1" * 1000) == b"+OK\r\n"
    many = [words if n == 0 else tuple(w.replace("big", f"big{n}") for w in words) for n in range(10)]
    replies = client.ask(b"".join(client.encode(*each) for each in many)).splitlines()
    refused = b"-OOM command not allowed when used memory > 'maxmemory'."
    assert replies.count(refused) > 5
    assert client.port.host.machines[0].keyspace.bytes <= 6000


def test_a_full_dataset_refuses_growth_only() -> None:
    """Reads and deletes still work, and it clears by itself."""
    client = Port(limits=LimitsConfig(dataset_bytes=200)).connect()
    refused = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
    assert client.run("SET", "a", "1" * 200) == b"+OK\r\n"
    for words in (("SET", "b", "1"), ("APPEND", "a", "1"), ("INCR", "n"), ("MSET", "a", "1")):
        assert client.run(*words) == refused
    assert client.run("STRLEN", "a") == b":200\r\n"
    assert client.run("EXPIRE", "a", "100") == b":1\r\n"
    assert client.run("DEL", "a") == b":1\r\n"
    assert client.run("SET", "b", "1") == b"+OK\r\n"


@pytest.mark.parametrize("whose", ["process", "leader"])
def test_a_process_without_memory_refuses_growth_only(client: Talk, whose: str) -> None:
    """This one, or that of the leader; what the other nodes are told is this node's own."""
    port, memory = client.port.factory.port, client.port.host.memory
    client.run("SET", "a", "1")
    if whose == "leader":
        memory.leader_full = True
    else:
        port.memory_checked(full=True)
    assert memory.full == (whose == "process")
    assert client.run("SET", "b", "1").startswith(b"-OOM ")
    assert client.run("GET", "a") == b"$1\r\n1\r\n"
    assert client.run("DEL", "a") == b":1\r\n"
    memory.leader_full = False
    port.memory_checked(full=False)
    assert client.run("SET", "b", "1") == b"+OK\r\n"


def test_names_of_clients_are_short(client: Talk) -> None:
    """CLIENT LIST shows them all."""
    for words in (("CLIENT", "SETNAME"), ("HELLO", "2", "SETNAME"), ("CLIENT", "SETINFO", "LIB-NAME")):
        assert not client.run(*words, "n" * 256).startswith(b"-")
        assert b"cannot be longer than 256 bytes" in client.run(*words, "n" * 257)


@pytest.mark.parametrize("words", [("CONFIG", "GET"), ("COMMAND", "INFO"), ("COMMAND", "DOCS")])
def test_names_and_patterns_in_a_request_are_few(client: Talk, words: tuple[str, ...]) -> None:
    """Each costs much more than its bytes."""
    assert not client.run(*words, *["x"] * 256).startswith(b"-")
    assert client.run(*words, *["x"] * 257) == b"-ERR more than 256 arguments\r\n"
