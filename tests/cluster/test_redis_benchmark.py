"""When `redis-benchmark --cluster` is ended, and that it is the one at fault."""

import contextlib
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time

import pytest

from tests.cluster.redis_benchmark import ENDED, awaited, benchmark

CLIENT = """
import select, socket, sys
port, *masks = map(int, sys.argv[1:])
ends = [socket.create_connection(("127.0.0.1", port)) for _ in masks]
poll = select.epoll()
for end, mask in zip(ends, masks):
    if mask:
        poll.register(end, mask)
print(flush=True)
sys.stdin.read()
"""
BY_ITSELF, READS, WRITES, BOTH = 0, 1, 4, 5


@pytest.fixture
def connected():
    """A program that has connections with some masks in an epoll, and the other ends of them."""
    with contextlib.ExitStack() as stack:

        def connect(*masks):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            words = [sys.executable, "-S", "-c", CLIENT, *map(str, (listener.getsockname()[1], *masks))]
            program = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            stack.enter_context(program)
            assert program.stdout
            assert program.stdout.readline() == b"\n"
            ends = [stack.enter_context(listener.accept()[0]) for _ in masks]
            return program.pid, listener.getsockname()[1], ends

        yield connect


@pytest.mark.parametrize(
    ("masks", "awaits"),
    [((WRITES, WRITES), False), ((WRITES, READS), True), ((WRITES, BOTH), True), ((WRITES, BY_ITSELF), True)],
)
def test_a_connection_for_writing_only_awaits_no_answer(connected, masks, awaits):
    pid, port, _ = connected(*masks)
    assert awaited(pid) == ({port} if awaits else set())


def test_an_answer_that_is_not_read_is_not_awaited(connected):
    pid, _, (end,) = connected(READS)
    end.sendall(b"x")
    assert awaited(pid) == set()


def test_a_lost_connection_awaits_no_answer(connected):
    pid, _, (end,) = connected(READS)
    end.close()
    assert awaited(pid) == set()


class Server(socketserver.ThreadingTCPServer):
    daemon_threads, block_on_close, request_queue_size = True, False, 50

    def handle_error(self, *_):
        """A connection is reset."""


class Nodes:
    """Two nodes of a cluster. The first one lets redis-benchmark sleep, and resets a connection meanwhile.

    It answers the first three clients in this order: CLUSTERDOWN, over which their thread sleeps for a
    second. OK and CLUSTERDOWN meanwhile, so that the thread reads both in one turn: it means to write to
    the second client, and sleeps again. Then the connection of the second client is reset.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._asked = 0
        self._all = threading.Event()
        self._servers = [self._server(self._sleepy), self._server(self._slow)]
        ports = [server.server_address[1] for server in self._servers]
        self.port = ports[0]
        halves = [(0, 8191), (8192, 16383)]
        parts = [(*half, port, str(port) * 8) for half, port in zip(halves, ports, strict=True)]
        lines = "".join(
            f"{id_} 127.0.0.1:{port}@1 master - 0 0 1 connected {first}-{last}\n"
            for first, last, port, id_ in parts
        )
        self._lines = f"${len(lines)}\r\n{lines}\r\n".encode()
        rows = "".join(
            f"*3\r\n:{first}\r\n:{last}\r\n*3\r\n$9\r\n127.0.0.1\r\n:{port}\r\n${len(id_)}\r\n{id_}\r\n"
            for first, last, port, id_ in parts
        )
        self._rows = f"*2\r\n{rows}".encode()

    def close(self):
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _server(self, sets):
        asked = self._answer

        class Connection(socketserver.BaseRequestHandler):
            def handle(self):
                while data := self.request.recv(1 << 16):
                    asked(self.request, data, sets)

        server = Server(("127.0.0.1", 0), Connection)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def _answer(self, end, data, sets):
        if b"CONFIG" in data:
            end.sendall(b"-ERR none\r\n" * data.count(b"CONFIG"))
        elif b"NODES" in data:
            end.sendall(self._lines)
        elif b"SLOTS" in data:
            end.sendall(self._rows)
        else:
            sets(end)

    def _slow(self, end):
        """The other node has requests left when the first one goes on."""
        time.sleep(0.005)
        end.sendall(b"+OK\r\n")

    def _sleepy(self, end):
        with self._lock:
            self._asked += 1
            turn = self._asked
        if turn == 3:
            self._all.set()
        elif turn < 3:
            self._all.wait()
        time.sleep({2: 0.3, 3: 0.5}.get(turn, 0.0))
        end.sendall(b"-CLUSTERDOWN no leader\r\n" if turn in (1, 3) else b"+OK\r\n")
        if turn == 2:
            time.sleep(1.2)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()


@pytest.mark.endurance
def test_redis_benchmark_repeats_a_write_to_a_lost_connection_for_ever(need):
    """Without any fault of a server. If it ends by itself one day, `awaited` is no longer needed."""
    nodes = Nodes()
    command = [need("redis-benchmark"), "--cluster", "-p", nodes.port, "-t", "set", "-n", 2000, "-c", 6, "-q"]
    report = benchmark(command)
    nodes.close()
    assert report.returncode == ENDED
    assert report.stdout.count("CLUSTERDOWN") == 2
    assert "Connection reset" not in report.stdout, "it never sees it"
