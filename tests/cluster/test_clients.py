"""Clients that people use, unchanged, against every node of a cluster."""

import os
import pty
import select
import subprocess
import termios
import time
from pathlib import Path

import pytest
import redis

pytestmark = pytest.mark.slow

NODES = ["K1", "K2", "K3"]
CLIENTS = Path(__file__).parent / "clients"
PROGRAM_SECONDS = 60.0


@pytest.fixture(params=NODES)
def server(request, shared_cluster):
    """Each node in turn."""
    return shared_cluster[request.param]


@pytest.fixture
def prefix(request):
    """A part of the keyspace for this test alone."""
    return request.node.name


def run(*command, **options):
    """The standard output of a program that ends well in time."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=PROGRAM_SECONDS, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_redis_cli(server, need, prefix):
    """One command a call, and a script of commands on standard input."""
    cli = [need("redis-cli"), "-p", server.client_port]
    assert run(*cli, "set", prefix, "hello world") == "OK\n"
    assert run(*cli, "get", prefix) == "hello world\n"
    assert run(*cli, "-3", "get", prefix) == "hello world\n"
    script = f"incr {prefix}:n\nincr {prefix}:n\nget {prefix}:missing\n"
    assert run(*cli, input=script) == "1\n2\n\n"
    assert "unknown command" in run(*cli, "lpush", prefix, "x")


def test_redis_cli_at_a_terminal(server, need, prefix):
    """Interactive: the prompt, the answers, and a clean end."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "dumb"
        os.execv(need("redis-cli"), ["redis-cli", "-p", str(server.client_port)])
    try:
        expect(terminal, f"127.0.0.1:{server.client_port}>")
        os.write(terminal, f'set {prefix} "two words"\r'.encode())
        expect(terminal, "OK")
        os.write(terminal, f"get {prefix}\r".encode())
        expect(terminal, '"two words"')
        os.write(terminal, b"quit\r")
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        os.close(terminal)


def test_redis_cli_shows_syntax_and_hints(server, need):
    """It builds both from COMMAND DOCS: of a command of Redis, with options, and of kraft's own."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(need("redis-cli"), ["redis-cli", "-p", str(server.client_port)])
    try:
        termios.tcsetwinsize(terminal, (24, 200))  # else it asks the terminal for its width
        prompt = f"127.0.0.1:{server.client_port}> "  # a line on which somebody types is drawn again, too
        for typed, hint in (
            ("set a ", "value [NX|XX|IFEQ value|IFNE value|IFDEQ digest|"),
            ("mget a ", "[key ...]"),
            ("client list ", "[TYPE NORMAL|MASTER|REPLICA|PUBSUB] [ID client-id"),
            ("kraft add ", "id host raft-port [LEARNER] [FORCE]"),
            ("kraft range ", "[AFTER last-key] [LIMIT count] [REV] [KEYSONLY]"),
            ("evalsha ", "sha1 numkeys [key [key ...]] [arg [arg ...]]"),
        ):
            expect(terminal, prompt)
            prompt = f"\r\n127.0.0.1:{server.client_port}> "
            os.write(terminal, typed.encode())
            expect(terminal, hint)
            os.write(terminal, b"\x15\r")  # Ctrl-U deletes the line
        expect(terminal, prompt)
        os.write(terminal, b"help set\r")
        assert "Sets the value of a key, optionally on a condition" in expect(terminal, prompt)
        os.write(terminal, b"quit\r")
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        os.close(terminal)


def expect(terminal, text):
    """Read from a terminal until `text` has appeared; what was read."""
    seen, end = "", time.monotonic() + PROGRAM_SECONDS
    while text not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"no {text!r} in {seen!r}"
        seen += os.read(terminal, 4096).decode(errors="replace")
    return seen


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py(server, prefix, protocol):
    """redis-py with both protocols: types of replies, errors, pipelines."""
    with redis.Redis(port=server.client_port, protocol=protocol, decode_responses=True) as client:
        assert client.ping() is True
        assert client.set(prefix, "hello") is True
        assert client.get(prefix) == "hello"
        assert client.get(f"{prefix}:missing") is None
        assert client.set(prefix, "x", nx=True) is None
        assert client.set(prefix, "new", get=True) == "hello"
        assert client.incr(f"{prefix}:n") == 1
        assert client.decrby(f"{prefix}:n", 3) == -2
        assert client.mset({f"{prefix}:b": "1", f"{prefix}:c": "2"}) is True
        assert client.mget(f"{prefix}:b", f"{prefix}:c", f"{prefix}:d") == ["1", "2", None]
        assert client.append(f"{prefix}:b", "23") == 3
        assert client.strlen(f"{prefix}:b") == 3
        assert client.set(f"{prefix}:t", "x", ex=100) is True
        assert 90 < client.ttl(f"{prefix}:t") <= 100
        assert client.persist(f"{prefix}:t") is True
        assert client.ttl(f"{prefix}:t") == -1
        assert client.exists(prefix, f"{prefix}:missing") == 1
        assert client.getdel(f"{prefix}:c") == "2"
        with pytest.raises(redis.ResponseError, match="not an integer"):
            client.incr(prefix)
        with client.pipeline(transaction=False) as pipeline:
            for _ in range(100):
                pipeline.incr(f"{prefix}:pipelined")
            assert pipeline.execute() == list(range(1, 101))
        assert client.delete(prefix, f"{prefix}:n", f"{prefix}:b", f"{prefix}:t") == 4
        assert "redis_version" in client.info()
        assert isinstance(client.role(), list)
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.client_setname("me") is True
        assert client.client_getname() == "me"


@pytest.mark.parametrize("protocol", [2, 3])
def test_transactions_of_redis_py(server, prefix, protocol):
    """Its pipeline, its loop around WATCH, and its errors."""
    with redis.Redis(port=server.client_port, protocol=protocol, decode_responses=True) as client:
        with client.pipeline(transaction=True) as pipeline:
            pipeline.set(prefix, "1").incr(prefix).get(prefix).get(f"{prefix}:missing")
            assert pipeline.execute() == [True, 2, "2", None]
        with client.pipeline() as pipeline:
            pipeline.watch(prefix)
            client.set(prefix, "5")
            pipeline.multi()
            pipeline.set(prefix, "6")
            with pytest.raises(redis.WatchError):
                pipeline.execute()
        calls: list[int] = []

        def double(pipeline):
            value = int(pipeline.get(prefix))
            if not calls:
                client.incr(prefix)
            calls.append(value)
            pipeline.multi()
            pipeline.set(prefix, 2 * value)

        assert client.transaction(double, prefix) == [True]
        assert (calls, client.get(prefix)) == ([5, 6], "12")
        with client.pipeline() as pipeline, pytest.raises(redis.ResponseError, match="LPUSH"):
            pipeline.set(prefix, "0").execute_command("LPUSH", prefix, "x").execute()
        assert client.getdel(prefix) == "12"


def test_a_transaction_of_redis_cli(server, need, prefix):
    cli = [need("redis-cli"), "-p", server.client_port]
    answers = run(*cli, input=f"multi\nset {prefix} 1\nincr {prefix}\nexec\ndel {prefix}\n")
    assert answers.split() == ["OK", "QUEUED", "QUEUED", "OK", "2", "1"]


def test_redis_py_expiry_is_seen_on_every_node(shared_cluster, server, prefix):
    """A key vanishes on time, on an idle cluster, on the node that is asked."""
    with redis.Redis(port=server.client_port) as client:
        assert client.set(prefix, "x", px=150) is True
        deadline = time.monotonic() + 60
        while client.get(prefix) is not None:
            assert time.monotonic() < deadline
    for other in shared_cluster:
        assert other.ask("EXISTS", prefix) == 0


def test_ioredis(server, need, prefix):
    """ioredis with its ready check."""
    assert (
        run(*node_program(need, "ioredis.js"), server.client_port, prefix, env=node_environment("ioredis"))
        == "ok\n"
    )


@pytest.mark.parametrize("protocol", [2, 3])
def test_node_redis(server, need, prefix, protocol):
    """node-redis with both protocols."""
    program = node_program(need, "node_redis.js")
    assert run(*program, server.client_port, prefix, protocol, env=node_environment("redis")) == "ok\n"


def node_program(need, name):
    return need("node"), CLIENTS / name


def node_environment(library):
    """An environment in which `node` finds a library; without it the test is skipped by name."""
    folder = Path(os.environ.get("KRAFT_TEST_NODE_MODULES", "node_modules")).absolute()
    if not (folder / library).is_dir():
        pytest.skip(f"needs {library} from npm (KRAFT_TEST_NODE_MODULES names the folder)")
    return {**os.environ, "NODE_PATH": str(folder)}


@pytest.mark.parametrize("pipeline", [1, 16])
def test_redis_benchmark(server, need, pipeline):
    """The loads of redis-benchmark that use strings, with and without pipelining."""
    report = run(
        *(need("redis-benchmark"), "-p", server.client_port, "-t", "ping,set,get,incr,mset"),
        *("-n", 2000, "-c", 20, "-P", pipeline, "-q"),
    )
    assert "rror" not in report
    assert "WARNING" not in report
    for load in ("PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"):
        assert f"{load}:" in report


REQUESTS = b"set nc 1\r\nget nc\r\n"
REPLIES = b"+OK\r\n$1\r\n1\r\n"


def test_netcat_stays_connected(server, need):
    """printf ... | nc: the replies come, and the connection stays until one side closes it."""
    with subprocess.Popen(
        [need("nc"), "127.0.0.1", str(server.client_port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as nc:
        assert nc.stdin is not None
        assert nc.stdout is not None
        nc.stdin.write(REQUESTS)
        nc.stdin.flush()
        assert nc.stdout.read(len(REPLIES)) == REPLIES
        nc.stdin.write(b"quit\r\n")
        nc.stdin.close()
        assert nc.stdout.read() == b"+OK\r\n"


def test_netcat_gives_help(server, need):
    """What a person tries first on an unknown port."""
    answer = subprocess.run(
        [need("nc"), "-N", "127.0.0.1", str(server.client_port)],
        input=b"help\n?\nhelp set\ngte x\nkraft statsu\nexit\n",
        capture_output=True,
        text=False,
        timeout=PROGRAM_SECONDS,
    ).stdout.decode()
    assert answer.count("a replicated key-value server. Type one command per line:") == 2
    assert "\nSET key value [NX|XX|IFEQ value|IFNE value|IFDEQ digest" in answer
    assert "-ERR unknown command 'gte', with args beginning with: 'x' - did you mean GET?\r\n" in answer
    assert "Did you mean STATUS?\r\n+OK\r\n" in answer


def test_netcat_that_ends_its_side_gets_every_reply(server, need):
    """printf ... | nc -N: a half-closed connection is answered, then closed."""
    answer = subprocess.run(
        [need("nc"), "-N", "127.0.0.1", str(server.client_port)],
        input=REQUESTS,
        capture_output=True,
        timeout=PROGRAM_SECONDS,
    )
    assert answer.stdout == REPLIES


def test_lines_that_end_in_lf_alone(server):
    """What a person types in netcat ends in LF."""
    with server.client() as client:
        client.send(b"set lf 'a b'\nget lf\n\nKVSTORE-GET lf\n")
        assert [client.reply() for _ in range(3)] == ["OK", b"a b", b"a b"]
