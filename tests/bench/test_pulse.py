"""A pulse sees each pause of a server, and its refusals."""

import os
import socket
import threading

import pytest

STALL_SECONDS = 0.3
OK = b"+OK\r\n"


@pytest.fixture
def server():
    """`server(reply, stall_at)`: the port of one that answers each write, and is silent for a while once."""
    stopped = threading.Event()
    threads = []

    def started(reply=OK, stall_at=20):
        listener = socket.create_server(("127.0.0.1", 0))

        def serve():
            with listener, listener.accept()[0] as connection:
                answered = 0
                while data := connection.recv(65_536):
                    for _ in range(data.count(b"*3\r\n")):
                        answered += 1
                        if answered == stall_at:
                            stopped.wait(STALL_SECONDS)
                        connection.sendall(reply)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return listener.getsockname()[1]

    yield started
    stopped.set()
    for thread in threads:
        thread.join(10)


def test_the_longest_latency_is_the_pause(bench, server):
    """Writes that were due while the server was silent count from their time."""
    address = bench("processes").local(server())
    silence = threading.Event()
    with bench("pulse").Pulse(address) as pulse:
        silence.wait(2 * STALL_SECONDS)
    beat = pulse.beat
    assert beat.pause_ms >= 1000 * STALL_SECONDS * 0.9
    assert beat.writes > 40
    assert 0 < beat.p50_ms <= beat.p99_ms <= beat.p999_ms <= beat.pause_ms


def test_the_most_memory_of_the_processes_is_seen(bench, server):
    address = bench("processes").local(server())
    with bench("pulse").Pulse(address, [os.getpid()]) as pulse:
        threading.Event().wait(0.1)
    assert pulse.beat.most_mb > 1


def test_a_refusal_is_an_error(bench, server):
    address = bench("processes").local(server(reply=b"-ERR no\r\n"))
    with pytest.raises(bench("processes").BenchError, match="ERR no"), bench("pulse").Pulse(address):
        threading.Event().wait(0.1)


def test_an_error_of_the_caller_passes(bench, server):
    address = bench("processes").local(server())
    with pytest.raises(ZeroDivisionError), bench("pulse").Pulse(address):
        _ = 1 // 0
