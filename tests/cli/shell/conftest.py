"""A shell on a cluster of objects, and everything that it has written."""

from collections.abc import Callable
from typing import Any

import pytest

from kraft.cli.shell.catalog import CommandCatalog
from kraft.cli.shell.formats import RawFormat, TerminalFormat
from kraft.cli.shell.shell import Shell
from tests.cli.nodes import FakeCluster


class Screen:
    """What a shell has written to standard output and standard error."""

    def __init__(self) -> None:
        self.out = b""
        self.err = b""

    def write_out(self, data: bytes) -> None:
        self.out += data

    def write_err(self, data: bytes) -> None:
        self.err += data


class TypedLines:
    """A person: what they type, one text at a time. An exception is raised: a key such as Ctrl-C."""

    def __init__(self, *typed: str | BaseException) -> None:
        self._typed = list(typed)
        self.labels: list[str] = []
        self.remembered: list[str] = []

    def read(self, label: str) -> str:
        self.labels.append(label)
        if not self._typed:
            raise EOFError
        typed = self._typed.pop(0)
        if isinstance(typed, BaseException):
            raise typed
        return typed

    def remember(self, entry: str) -> None:
        self.remembered.append(entry)


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.fixture
def make_shell(cluster: FakeCluster, screen: Screen) -> Callable[..., Any]:
    """`make_shell(JavaShell)`: a shell of this class that knows K1 to K3."""

    def make(kind: type[Shell] = Shell, raw: bool = False, **options: Any) -> Shell:
        catalog = CommandCatalog()
        client = cluster.client("K1", "K2", "K3", repeatable=catalog.repeatable, **options)
        form = RawFormat() if raw else TerminalFormat()
        return kind(client, catalog, form, screen.write_out, screen.write_err, lambda: cluster.now)

    return make
