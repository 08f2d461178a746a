"""One client at a time: every command's replies and error texts.

Each file of `conversations/` is one connection on an empty keyspace, in lines `request => reply`. A reply is
written with Python's escapes, without its last line end.
"""

from pathlib import Path

import pytest

from tests.server.fakes import Port

SCRIPTS = sorted(Path(__file__).with_name("conversations").glob("*.txt"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("step", ["whole", "byte by byte"])
def test_replies(script: Path, step: str) -> None:
    """However the bytes are cut."""
    client = Port().connect()
    for line in script.read_text().splitlines():
        asked, _, expected = line.partition(" => ")
        wanted = expected.encode().decode("unicode_escape").encode() + b"\r\n"
        words = asked.split(" ")
        if step == "whole":
            answer = client.run(*words)
        else:
            encoded = client.encode(*words)
            answer = b"".join(client.ask(encoded[n : n + 1]) for n in range(len(encoded)))
        assert answer == wanted, line


def test_a_command_of_a_later_machine_version_is_refused_alone() -> None:
    """Its neighbours in a pipeline are done; reads need no version, and the host is asked nothing for it."""
    port = Port()
    port.host.machines[0].version = 1
    client = port.connect()
    requests = (("SET", "a", "1"), ("SETRANGE", "a", "0", "2"), ("SET", "b", "3"))
    answer = client.ask(b"".join(client.encode(*words) for words in requests))
    refused = b"-ERR 'setrange' needs machine version 2, but version 1 is in force\r\n"
    assert answer == b"+OK\r\n" + refused + b"+OK\r\n"
    assert client.run("GETRANGE", "a", "0", "-1") == b"$1\r\n1\r\n"
    port.host.machines[0].version = 2
    assert client.run("SETRANGE", "a", "0", "2") == b":1\r\n"
