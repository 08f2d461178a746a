"""A network namespace of its own, in which links are as narrow as a test says: `tc` shapes its loopback.

A thread that has entered it makes its sockets and processes there, and so do the threads that it starts.
"""

import ctypes
import os
import re
import shutil
import subprocess
from types import TracebackType
from typing import Self

MBIT = 125_000  # bytes per second
PACKET_BYTES = 9000  # the longest of real networks; the loopback's own 64 KiB would take 0.26 s at 2 Mbit/s
BURST_BYTES = 1 << 16  # what passes at once
CLONE_NEWNET = 0x40000000
WIDE = 10_000 * MBIT
TCP_FLAGS = "33"  # where they are in a packet, after 20 bytes of IP
SYN_ONLY = ("0x02", "0x12")  # SYN without ACK, of these two bits


class CannotShape(Exception):
    """This machine has not the programs or the rights. The message says which."""


class Namespace:
    """The namespace `name`, for the length of a `with` block, in which the calling thread is inside of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._classes: dict[int, int] = {}  # by port and direction
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)

    def __enter__(self) -> Self:
        for program in ("ip", "tc"):
            if shutil.which(program) is None:
                raise CannotShape(program)
        made = subprocess.run(["ip", "netns", "add", self.name], capture_output=True, text=True)
        if made.returncode:
            raise CannotShape(f"the right to make a network: {made.stderr.strip()}")
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        _enter(there)
        os.close(there)
        packets = ["mtu", str(PACKET_BYTES), "gso_max_size", str(PACKET_BYTES), "gso_max_segs", "1"]
        _run("ip", "link", "set", "lo", "up", *packets)
        _run("tc", "qdisc", "add", "dev", "lo", "root", "handle", "1:", "htb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _enter(self._home)
        os.close(self._home)
        _run("ip", "netns", "delete", self.name)

    def shape(self, port: int, bytes_per_second: float, buffer_bytes: int) -> None:
        """Let connections to `port` carry so much in each direction; before it a queue of `buffer_bytes`.

        All connections to one port share it. What finds the queue full is dropped, as by a router.
        """
        for way, match in enumerate(("dport", "sport")):
            number = self._classes.get(2 * port + way)
            new = number is None
            if number is None:
                number = self._classes[2 * port + way] = len(self._classes) + 1
            group = f"1:{number}"
            queue = ["parent", group, "handle", f"{number + 16}:", "bfifo", "limit", str(buffer_bytes)]
            if not new:
                # What waits beyond the new limit leaves at the old speed. At a low one it would take seconds.
                _run("tc", "qdisc", "change", "dev", "lo", *queue)
            rate = f"{int(bytes_per_second)}bps"
            shaped = ["rate", rate, "ceil", rate, "burst", str(BURST_BYTES), "cburst", str(BURST_BYTES)]
            verb = "add" if new else "change"
            _run("tc", "class", verb, "dev", "lo", "parent", "1:", "classid", group, "htb", *shaped)
            if new:
                _run("tc", "qdisc", "add", "dev", "lo", *queue)
                chosen = ["u32", "match", "ip", match, str(port), "0xffff", "flowid", group]
                _run("tc", "filter", "add", "dev", "lo", "parent", "1:", "protocol", "ip", *chosen)

    def refuse(self, port: int) -> None:
        """Let nobody connect to `port`. Whoever listens there may connect to others."""
        number = self._classes[-port] = len(self._classes) + 1
        group = f"1:{number}"
        _run("tc", "class", "add", "dev", "lo", "parent", "1:", "classid", group, "htb", "rate", "1kbps")
        _run("tc", "qdisc", "add", "dev", "lo", "parent", group, "bfifo", "limit", "1")  # byte
        opens = ["match", "ip", "dport", str(port), "0xffff", "match", "u8", *SYN_ONLY, "at", TCP_FLAGS]
        first = ["parent", "1:", "protocol", "ip", "prio", "1"]
        _run("tc", "filter", "add", "dev", "lo", *first, "u32", *opens, "flowid", group)

    def carried(self, port: int) -> int:
        """Bytes on the wire that went to `port` so far."""
        shown = _run("tc", "-s", "class", "show", "dev", "lo", "classid", f"1:{self._classes[2 * port]}")
        found = re.search(r"Sent (\d+) bytes", shown)
        assert found, shown
        return int(found[1])


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET):
        raise CannotShape(f"the right to enter a network: {os.strerror(ctypes.get_errno())}")


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
