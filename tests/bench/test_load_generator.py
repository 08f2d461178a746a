"""The load generator: what it sends, when, and from when latency counts."""

import contextlib
import itertools
import re
import socket
import threading

import pytest

OK = b"+OK\r\n"


@pytest.fixture
def generator(bench):
    return bench("load_generator")


@pytest.fixture
def load(bench):
    """`load("mix", keys=10)` with one client."""
    loads = bench("loads")
    return lambda operation, **fields: loads.Load(operation, fields.pop("clients", 1), 1, 1, **fields)


# -- what is sent -------------------------------------------------------------------------------------


def test_a_mixture_reads_four_times_as_often_as_it_writes(generator, load):
    made = generator.exchanges(load("mix", keys=100), 10_000)
    reads = sum(b"GET" in request for request, _ in made)
    assert 7_800 < reads < 8_200
    assert all((reply == OK) == (b"SET" in request) for request, reply in made)
    assert made == generator.exchanges(load("mix", keys=100), 10_000)


def test_lines_have_the_replies_of_the_protocol(generator, load):
    """A value comes back as a bulk string, and a line ends as netcat's do in its mode for CRLF."""
    [(asked, found)] = generator.exchanges(load("line_get", value_bytes=3), 1)
    [(written, acknowledged)] = generator.exchanges(load("line_set", value_bytes=3), 1)
    assert (asked, found) == (b"GET key:__rand_int__\r\n", b"$3\r\nxxx\r\n")
    assert (written, acknowledged) == (b"SET key:__rand_int__ xxx\r\n", OK)


def test_five_keys_as_one_command_and_as_one_transaction(generator, load):
    """Both write the same keys, and every reply of the transaction is compared."""
    [(request, reply)] = generator.exchanges(load("mset5", keys=100_000, value_bytes=3), 1)
    [(whole, replies)] = generator.exchanges(load("exec5", keys=100_000, value_bytes=3), 1)
    names = re.findall(rb"key:\d{12}", request)
    assert re.findall(rb"key:\d{12}", whole) == names
    assert len(set(names)) == 5
    assert (whole.count(b"SET"), whole.count(b"MULTI"), whole.count(b"EXEC")) == (5, 1, 1)
    assert (reply, replies) == (OK, OK + b"+QUEUED\r\n" * 5 + b"*5\r\n" + OK * 5)


def test_a_few_keys_are_popular_in_a_zipf_distribution(generator, load):
    """Of 1,000 keys with exponent 0.99 the first has 13 % of the requests; of an even one each has 0.1 %."""
    first = b"key:000000000000"
    zipf = generator.exchanges(load("get", keys=1_000, zipf=True), 10_000)
    even = generator.exchanges(load("get", keys=1_000), 10_000)
    assert 1_100 < sum(first in request for request, _ in zipf) < 1_500
    assert sum(first in request for request, _ in even) < 50


def test_a_pipeline_is_one_exchange(generator):
    single = [(b"a", b"1"), (b"b", b"2"), (b"c", b"3"), (b"d", b"4")]
    assert generator.pipelines(single, 2) == [(b"ab", b"12"), (b"cd", b"34")]
    assert generator.pipelines(single, 1) == single


def test_arrivals_have_the_rate_and_come_irregularly(generator):
    times = generator.arrivals(1_000.0, 10_000)
    assert times == sorted(times)
    assert 9.5 < times[-1] < 10.5
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert 0.35 < sum(gap > 0.001 for gap in gaps) / len(gaps) < 0.39  # 1 / e of them exceed the mean


# -- replies ------------------------------------------------------------------------------------------


@pytest.fixture
def pair(generator):
    """A connection of the generator, and the server's end of it."""
    client, server = socket.socketpair()
    with client, server:
        client.settimeout(10)
        yield generator.Connection(client), server


def test_replies_in_pieces_are_put_together(pair):
    connection, server = pair
    latencies: list[float] = []
    connection.send((b"x", OK), 0.0)
    connection.send((b"y", OK), 0.0)
    server.sendall(OK[:2])
    assert connection.receive(latencies) == 0
    server.sendall(OK[2:] + OK[:1])
    assert connection.receive(latencies) == 1
    server.sendall(OK[1:])
    assert connection.receive(latencies) == 1
    assert len(latencies) == 2


@pytest.mark.parametrize("reply", [b"-ERR no\r\n", b"$1", OK + OK, b"$-1\r\n"])
def test_another_reply_ends_it(pair, reply):
    connection, server = pair
    connection.send((b"x", OK), 0.0)
    server.sendall(reply)
    with pytest.raises(SystemExit, match="not the expected reply"):
        connection.receive([])


def test_a_closed_connection_ends_it(pair):
    connection, server = pair
    connection.send((b"x", OK), 0.0)
    assert server.recv(1) == b"x"
    server.close()
    with pytest.raises(SystemExit, match="not the expected reply"):
        connection.receive([])


# -- when ---------------------------------------------------------------------------------------------


@pytest.fixture
def stalling_server(bench):
    """Acknowledges each request of one connection, but is silent for a while after the tenth."""
    silence = threading.Event()

    def serve(listener):
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines:
            for number, _ in enumerate(lines):
                if number == 10:
                    silence.wait(STALL_SECONDS)
                connection.sendall(OK)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield bench("processes").local(listener.getsockname()[1])
        silence.set()
        thread.join(10)


STALL_SECONDS = 0.5


def test_requests_that_were_due_during_a_stall_count_from_their_time(generator, load, stalling_server):
    """A stall of 0.5 s at 200 requests a second concerns about 100 of them, and not just the one it met."""
    todo = generator.exchanges(load("line_set"), 200)
    with contextlib.closing(generator.LoadGenerator(stalling_server, 1)) as outcome:
        outcome.open_loop(todo, generator.arrivals(200.0, len(todo)))
    assert len(outcome.latencies) == len(outcome.lateness) == 200
    assert max(outcome.latencies) > 0.9 * STALL_SECONDS
    assert sum(latency > 0.1 * STALL_SECONDS for latency in outcome.latencies) > 50


def test_a_closed_loop_omits_them(generator, load, stalling_server):
    """Which is why the other one exists: here a single request is slow."""
    with contextlib.closing(generator.LoadGenerator(stalling_server, 1)) as outcome:
        outcome.closed_loop(generator.exchanges(load("line_set"), 200))
    assert len(outcome.latencies) == 200
    assert sum(latency > 0.9 * STALL_SECONDS for latency in outcome.latencies) == 1


def test_an_outcome_counts_whole_pipelines(bench, generator, stalling_server):
    loads = bench("loads")
    outcome = generator.run(stalling_server, loads.Load("line_set", 1, 4, 1), 10, 0.0)
    assert (outcome.requests, outcome.late_p99_ms) == (12, None)
    assert 0 < outcome.p50_ms <= outcome.p999_ms
