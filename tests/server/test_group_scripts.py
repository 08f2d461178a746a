"""Scripts and functions at the client port of a node with several groups."""

from kraft.node.errors import Uncertain
from tests.server.groups import LIBRARY, RETURN_ONE, key_in, pipeline, three

SHA = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"


def test_scripts_of_one_pipeline_run_in_their_groups() -> None:
    port, client = three()
    keys = [key_in(group) for group in (2, 0, 1, 2)]
    code = "return redis.call('INCR', KEYS[1])"
    answer = client.ask(pipeline(*(("EVAL", code, "1", key) for key in keys)))
    assert answer == b":1\r\n:1\r\n:1\r\n:2\r\n"
    assert [(group, len(commands)) for group, commands in port.host.writes] == [(2, 2), (0, 1), (1, 1)]


def test_a_script_that_is_loaded_runs_in_every_group() -> None:
    _, client = three()
    no = b"-NOSCRIPT No matching script. Please use EVAL.\r\n"
    assert client.run("EVALSHA", SHA, "1", key_in(1)) == no
    assert client.run("EVAL", RETURN_ONE, "1", key_in(1)) == b":1\r\n"
    assert client.run("EVALSHA", SHA, "1", key_in(1)) == b":1\r\n"
    assert client.run("EVALSHA", SHA, "1", key_in(2)) == no  # EVAL caches it where its keys are
    assert client.run("SCRIPT", "EXISTS", SHA, "0" * 40) == b"*2\r\n:0\r\n:0\r\n"
    assert client.run("SCRIPT", "SHOW", SHA) == b"$8\r\nreturn 1\r\n"
    assert client.run("SCRIPT", "LOAD", RETURN_ONE) == b"$40\r\n%b\r\n" % SHA.encode()
    assert client.run("SCRIPT", "EXISTS", SHA, "0" * 40) == b"*2\r\n:1\r\n:0\r\n"
    assert {client.run("EVALSHA", SHA, "1", key_in(group)) for group in range(3)} == {b":1\r\n"}
    assert client.run("EVALSHA", SHA, "0") == b":1\r\n"
    assert client.run("SCRIPT", "FLUSH") == b"+OK\r\n"
    assert client.run("SCRIPT", "EXISTS", SHA) == b"*1\r\n:0\r\n"
    assert client.run("SCRIPT", "SHOW", SHA) == no


def test_a_script_uses_the_keys_of_its_group_only() -> None:
    _, client = three()
    own, other = key_in(1), key_in(2)
    foreign = b"Script attempted to access a non local key in a cluster node"
    for words in (("SET", other, "1"), ("GET", other), ("DEL", own, other)):
        called = ", ".join(f"'{word if isinstance(word, str) else word.decode()}'" for word in words)
        reply = client.run("EVAL", f"return redis.call({called})", "1", own)
        assert reply.startswith(b"-ERR " + foreign), reply
        reply = client.ask(
            pipeline(("MULTI",), ("GET", own), ("EVAL", f"return redis.call({called})", "0"), ("EXEC",))
        )
        assert foreign in reply, reply
    for name in ("FLUSHALL", "DBSIZE"):
        reply = client.run("EVAL", f"return redis.call('{name}')", "1", own)
        assert b"not allowed from script" in reply
    again = client.ask(
        pipeline(
            ("MULTI",), ("GET", own), ("EVAL", f"return redis.call('INCR', '{own.decode()}')", "0"), ("EXEC",)
        )
    )
    assert again.endswith(b":1\r\n")


def test_functions_are_loaded_into_every_group() -> None:
    _, client = three()
    assert client.run("FUNCTION", "LOAD", LIBRARY) == b"$4\r\nmine\r\n"
    assert {client.run("FCALL", "one", "1", key_in(group)) for group in range(3)} == {b":1\r\n"}
    assert client.run("FUNCTION", "LOAD", LIBRARY) == b"-ERR Library 'mine' already exists\r\n"
    dump = client.run("FUNCTION", "DUMP").split(b"\r\n", 1)[1][:-2]
    assert client.run("FUNCTION", "FLUSH") == b"+OK\r\n"
    assert client.run("FUNCTION", "DELETE", "mine") == b"-ERR Library not found\r\n"
    assert client.run("FUNCTION", "RESTORE", dump) == b"+OK\r\n"
    assert {client.run("FCALL", "one", "1", key_in(group)) for group in range(3)} == {b":1\r\n"}
    assert client.run("FUNCTION", "DELETE", "mine") == b"+OK\r\n"
    assert client.run("FUNCTION", "LIST") == b"*0\r\n"


def test_a_library_that_is_in_some_groups_only_can_be_loaded_and_deleted() -> None:
    port, client = three()
    port.host.failing_in = {1: Uncertain()}
    assert client.run("FUNCTION", "LOAD", LIBRARY).startswith(b"-UNCERTAIN done in group 0,")
    port.host.failing_in = {}
    assert client.run("FUNCTION", "LOAD", "REPLACE", LIBRARY) == b"$4\r\nmine\r\n"
    port.host.failing_in = {1: Uncertain()}
    assert client.run("FUNCTION", "DELETE", "mine").startswith(b"-UNCERTAIN done in group 0,")
    port.host.failing_in = {}
    assert client.run("FUNCTION", "DELETE", "mine") == b"+OK\r\n"
    assert client.run("FCALL", "one", "1", key_in(2)) == b"-ERR Function not found\r\n"
