"""A client that runs scripts, and what the group of its port logs."""

import pytest

from kraft.kv.commands import Command
from kraft.kv.machine import Machine
from tests.server.lua.talks import Scripts


@pytest.fixture
def scripts() -> Scripts:
    return Scripts()


@pytest.fixture
def logged(scripts: Scripts, monkeypatch: pytest.MonkeyPatch) -> list[Command]:
    """The commands that the state machine below the overlay applies."""
    machine, apply = scripts.port.host.machines[0], Machine.apply
    found: list[Command] = []

    def applied(self, stamp, commands):
        if self is machine:
            found.extend(commands)
        return apply(self, stamp, commands)

    monkeypatch.setattr(Machine, "apply", applied)
    return found
