"""A running cluster that speaks RESP, given by its addresses. The benchmark neither starts nor stops it."""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.client import ask
from bench.processes import Address, BenchError, wait_for
from bench.systems import System


def named(text: str) -> tuple[str, list[str]]:
    """Parse NAME=VALUE[,VALUE...]. Raises argparse.ArgumentTypeError."""
    name, _, values = text.partition("=")
    parts = [part.strip() for part in values.split(",") if part.strip()]
    if not name.strip() or not parts:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, or NAME=VALUE,VALUE")
    return name.strip(), parts


def named_addresses(text: str) -> tuple[str, list[Address]]:
    """Parse NAME=HOST:PORT[,HOST:PORT...]. Raises argparse.ArgumentTypeError."""
    name, values = named(text)
    return name, [_address(value) for value in values]


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return Address(host, int(port))


def named_pids(text: str) -> tuple[str, list[int]]:
    """Parse NAME=PID[,PID...]. Raises argparse.ArgumentTypeError."""
    name, values = named(text)
    if not all(value.isdigit() for value in values):
        raise argparse.ArgumentTypeError(f"{text!r} has something other than process ids")
    return name, [int(value) for value in values]


class External(System):
    """The cluster at some addresses. `pids`, if any, are its processes, for CPU time and memory."""

    def __init__(self, directory: Path, name: str, addresses: Sequence[Address], pids: Sequence[int]) -> None:
        super().__init__(directory)
        self.name = name
        self._addresses, self._pids = list(addresses), list(pids)

    def start(self) -> None:
        """Wait until one of the addresses accepts a write."""
        wait_for(
            lambda: self._writable()[0], f"{self.name} to accept a write", explain=lambda: self._writable()[1]
        )

    def _writable(self) -> tuple[Address | None, str]:
        """The first address that accepts a write, or None and what each of them replied."""
        replies = []
        for address in self._addresses:
            try:
                reply = ask(address, b"SET", b"key:__probe__", b"x" * 64)
            except OSError as error:
                reply = str(error).encode()
            if reply == b"+OK\r\n":
                return address, ""
            replies.append(f"{address}: {reply.decode(errors='replace').strip()}")
        return None, "\n".join(replies)

    def views(self) -> dict[str, Address]:
        """Return the first address that accepts a write: where followers refuse, that of the leader."""
        address, replies = self._writable()
        if address is None:
            raise BenchError(f"{self.name} does not accept a write\n{replies}")
        return {self.name: address}

    def pids(self) -> list[int]:
        """Return the process ids that were given."""
        return self._pids

    def stop(self) -> None:
        """Leave it alone."""
        shutil.rmtree(self.directory, ignore_errors=True)
