"""SCAN, KEYS and RANDOMKEY at the client port."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraft.glob import any_pattern, key_pattern
from kraft.kv.commands import Delete, Flush, Put
from kraft.node.errors import NoLeader
from tests.server.fake_host import WALL_MS
from tests.server.fakes import Port


def filled(count=300):
    port = Port()
    port.host.machines[0].apply(WALL_MS, [Put(b"key:%d" % number, b"v") for number in range(count)])
    return port, port.connect()


def array(reply):
    """The bulk strings of an array."""
    lines = reply.split(b"\r\n")
    assert lines[0] == b"*%d" % ((len(lines) - 2) // 2)
    return lines[2::2]


def scan(client, cursor, *words):
    reply = client.run("SCAN", cursor, *words)
    assert reply.startswith(b"*2\r\n$")
    _, _, cursor, rest = reply.split(b"\r\n", 3)
    return cursor, array(rest)


def all_of(client, *words):
    """All keys of a scan, and how many calls it took."""
    cursor, found, calls = b"0", [], 0
    while True:
        cursor, keys = scan(client, cursor, *words)
        found += keys
        calls += 1
        if cursor == b"0":
            return found, calls


def test_a_scan_returns_every_key_once():
    _, client = filled()
    found, calls = all_of(client)
    assert sorted(found) == sorted(b"key:%d" % number for number in range(300))
    assert 10 < calls <= 30
    assert all_of(client, "COUNT", "1000000") == (found, 1)


def test_a_scan_goes_on_at_another_node_and_returns_what_exists_throughout():
    """The keys come and go between the calls; at the end there is one tenth of them."""
    (one, client), (other, second) = filled(), filled()
    stay = {b"key:%d" % number for number in range(0, 300, 10)}
    others = [b"key:%d" % number for number in range(300) if number % 10]
    cursor, found, step = b"0", [], 0
    while step == 0 or cursor != b"0":
        cursor, keys = scan(client, cursor, "COUNT", "7")
        found += keys
        for port in (one, other):
            machine = port.host.machines[0]
            machine.apply(WALL_MS, [Put(b"new:%d" % (step * 5 + number), b"v") for number in range(5)])
            machine.apply(WALL_MS, [Delete(tuple(others[step * 20 : step * 20 + 20]))])
        client, second = second, client
        step += 1
    assert len(found) == len(set(found))
    assert stay <= set(found)


def test_no_call_looks_at_more_than_some_thousand_keys():
    """However large COUNT is: the reactor is free for others in between."""
    _, client = filled(7000)
    cursor, keys = scan(client, b"0", "COUNT", "9223372036854775807")
    assert cursor != b"0"
    assert 2000 <= len(keys) <= 2100


def test_patterns_types_and_wrong_arguments():
    _, client = filled(30)
    assert sorted(all_of(client, "MATCH", "key:1?")[0]) == sorted(b"key:1%d" % n for n in range(10))
    assert all_of(client, "match", "*")[0] == all_of(client)[0]
    assert all_of(client, "TYPE", "STRING")[0] == all_of(client)[0]
    assert all_of(client, "TYPE", "hash")[0] == []
    for words, error in [
        (["x"], "invalid cursor"),
        ([""], "invalid cursor"),
        (["18446744073709551616"], "invalid cursor"),
        (["0", "COUNT", "0"], "syntax error"),
        (["0", "COUNT", "x"], "value is not an integer or out of range"),
        (["0", "MATCH"], "syntax error"),
        (["0", "FOO", "1"], "syntax error"),
        (["0", "MATCH", "x" * 1025], "pattern exceeds limit of 1024 bytes"),
    ]:
        assert client.run("SCAN", *words) == f"-ERR {error}\r\n".encode()
    assert client.run("SCAN") == b"-ERR wrong number of arguments for 'scan' command\r\n"
    assert client.run("SCAN", "18446744073709551615") == b"*2\r\n$1\r\n0\r\n*0\r\n"


def test_keys_are_those_of_one_moment():
    """Although others write and flush while they are collected; pipelined requests keep their order."""
    port, client = filled(3000)
    client.send(client.encode("KEYS", "key:*") + client.encode("DBSIZE"))
    machine = port.host.machines[0]
    port.host.turn()
    for number in range(40):
        port.host.turn()
        machine.apply(WALL_MS, [Put(b"key:new:%d" % number, b"v"), Delete((b"key:%d" % (number * 7),))])
        if number == 5:
            machine.apply(WALL_MS, [Flush()])
    port.host.settle()
    reply = client.read()
    keys, _, size = reply.rpartition(b":")
    assert sorted(array(keys)) == sorted(b"key:%d" % number for number in range(3000))
    assert int(size) < 50  # answered after it


def test_keys_in_plain_text_and_none():
    _, client = filled(3)
    client.ask(b"kraft output plain\r\n")
    assert sorted(client.ask(b"keys *\r\n").split()) == [b"key:0", b"key:1", b"key:2"]
    assert client.ask(b"keys none\r\n") == b"\n"
    _, client = filled(3)
    assert client.run("KEYS", "none") == b"*0\r\n"
    assert client.run("KEYS") == b"-ERR wrong number of arguments for 'keys' command\r\n"


def test_a_client_that_goes_away_leaves_no_walk():
    port, client = filled(3000)
    client.send(client.encode("KEYS", "*"))
    port.host.turn()
    client.lose()
    port.host.settle()
    assert port.host.machines[0].keyspace.index._walks == []


def test_random_keys():
    port, client = filled(20)
    seen = {client.run("RANDOMKEY") for _ in range(400)}
    assert len(seen) == 20
    port.host.machines[0].apply(WALL_MS, [Flush()])
    assert client.run("RANDOMKEY") == b"$-1\r\n"


def test_a_failed_read_is_an_error():
    port, client = filled(3)
    port.host.failing = NoLeader(0)
    for words in (["SCAN", "0"], ["KEYS", "*"], ["RANDOMKEY"]):
        assert client.run(*words).startswith(b"-CLUSTERDOWN")


def plain_match(pattern: bytes, text: bytes) -> bool:
    """stringmatchlen of Redis, as it stands in util.c, without the classes."""
    if not pattern:
        return not text
    if pattern[:1] == b"*":
        return any(plain_match(pattern[1:], text[place:]) for place in range(len(text) + 1))
    if not text:
        return False
    if pattern[:1] == b"?":
        return plain_match(pattern[1:], text[1:])
    if pattern[:1] == b"\\" and len(pattern) > 1:
        pattern = pattern[1:]
    return pattern[0] == text[0] and plain_match(pattern[1:], text[1:])


@settings(deadline=None, max_examples=500)
@given(st.text("ab*?\\", max_size=9), st.text("ab\n\\", max_size=9))
def test_patterns_match_as_in_redis(pattern, text):
    match = key_pattern(pattern.encode())
    assert bool(match is None or match(text.encode())) == plain_match(pattern.encode(), text.encode())


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("[ab]", "a b", "c ab"),
        ("[^ab]", "c ]", "a b"),
        ("[a-c]x", "ax bx", "dx x"),
        ("[c-a]x", "ax bx", "dx"),
        ("[\\]]", "]", "\\"),
        ("[abc", "a b", "d"),
        ("[]a", "", "a ]a"),
        ("[^]a", "xa ]a", "a"),
        ("h[a-]llo", "", "hallo"),
        ("*[0-9]", "a1 1", "a"),
        ("a*b*c", "abc axbxc abcbc", "ab acb"),
        ("a**b", "ab axb", "a"),
    ],
)
def test_classes(pattern, yes, no):
    match = key_pattern(pattern.encode())
    assert match is not None
    assert [text for text in (yes + " " + no).split() if match(text.encode())] == yes.split()


def test_no_pattern_is_slow():
    """Each would take years if stars were tried in all combinations."""
    text = b"a" * 4096
    for pattern in ("a*" * 500 + "b", "*a*a*a*a*a*a*a*b", "*" + "a?" * 200 + "*" + "b" * 100):
        match = key_pattern(pattern.encode())
        assert match is not None
        assert not match(text)


def test_none_of_them_is_possible_in_a_transaction():
    _, client = filled(3)
    client.run("MULTI")
    for words in (["SCAN", "0"], ["KEYS", "*"], ["RANDOMKEY"]):
        assert client.run(*words) == b"-ERR Command not allowed inside a transaction\r\n"
    assert client.run("EXEC").startswith(b"-EXECABORT")


@pytest.mark.parametrize(
    "patterns",
    [
        *([], ["a*"], ["a*", "*b", "a?c"], ["[ab", "*"], ["", "a|b"], ["a*", "[ab"], ["a*", "a|*"], ["*"]),
        *(["a\\*"], ["b**"], ["\\[ab*"], ["a*b*"], ["[*"]),
    ],
)
def test_one_expression_for_several_patterns_matches_what_one_of_them_does(patterns):
    words = [pattern.encode() for pattern in patterns]
    together = any_pattern(words)
    for key in (b"", b"a", b"b", b"ab", b"abc", b"a|b", b"a\nb", b"xab\n", b"[ab", b"c"):
        apart = [match is None or bool(match(key)) for match in map(key_pattern, words)]
        assert bool(together(key)) is any(apart), key
