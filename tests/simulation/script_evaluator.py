"""The production evaluator of scripts in a simulated node: real Lua, which takes virtual time.

What a script does depends on the state and its text alone, and its limit is that of instructions, so that a
run is the same each time. In half of all runs some scripts take long on the clock of their node: then a batch
is evaluated in several slices, and the leader does other things between them.
"""

from types import SimpleNamespace
from typing import Any

from kraft.config import Config
from kraft.host.host import Host
from kraft.host.ports import ScriptEffects
from kraft.host.slots import SlotMap
from kraft.kv.commands import ScriptCall
from kraft.kv.overlay import Overlay
from kraft.server.commands.acl_table import catalog_of
from kraft.server.commands.table import TABLE, UNLISTED
from kraft.server.lua.evaluator import LuaEvaluator
from kraft.server.port import ClientPort
from kraft.server.validation import Validation
from tests.simulation.world import NodeClock, World

CATALOG = catalog_of(TABLE)
SLOW = 0.5  # how many scripts take long, in a run that has such
SECONDS_MAX = 0.05  # more than the default of `scripts.time`


class SimulatedEvaluator:
    """What one process evaluates its scripts with; implements `host.ports.ScriptEvaluator`."""

    def __init__(
        self, config: Config, host: Host, observer: Any, clock: NodeClock, world: World, *, moving: bool
    ) -> None:
        # Where no slots move, clients choose a group by its number, whatever their keys are.
        slots = host.slots if moving else SlotMap()
        seen: Any = SimpleNamespace(id=host.id, memory=host.memory, slots=slots)
        port = ClientPort(config, seen, observer, clock, CATALOG)
        self._evaluator = LuaEvaluator(port, Validation(port, TABLE, UNLISTED))
        self._clock = clock
        self._counts = world.counts
        self._dice = world.dice(f"scripts of {host.id}")
        self._slow = SLOW if world.dice("slow scripts").random() < 0.5 else 0.0

    def evaluate(
        self, overlay: Overlay, script: ScriptCall, used: int = 0, *, logged: bool = False
    ) -> ScriptEffects:
        """Run `script`; its process is not free again before it has ended."""
        done = self._evaluator.evaluate(overlay, script, used, logged=logged)
        self._counts["script evaluated"] += 1
        if self._slow and self._dice.random() < self._slow:
            self._clock.spend(self._dice.uniform(0.0, SECONDS_MAX))
        return done
