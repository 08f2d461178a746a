"""The stage of a golden script: real nodes, the messages in flight between them, and the trace.

Nothing moves by itself: a message stays in flight until it is delivered or dropped, time is ticks. A disk is
prompt (a write is finished as soon as it is begun) until a script makes it slow. After every input the
checker of `kraft.raft.invariants` looks at the whole.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from kraft.raft.errors import ChangeRefused, NotLeading, TransferRefused
from kraft.raft.invariants import InvariantChecker
from kraft.raft.raft import Raft
from tests.raft import wording
from tests.raft.actors import Actor, Wire
from tests.raft.disk import Image


class ScriptError(Exception):
    """A command that means nothing, or cannot be carried out here."""


class Block(NamedTuple):
    """Commands, and the line of the first one in its file."""

    commands: tuple[str, ...]
    line: int


class Stage:
    """The nodes of one script, the messages between them, and the trace; `commands` are those of scripts."""

    def __init__(self, commands: Mapping[str, Callable[..., None]]) -> None:
        self._commands = commands
        self.actors: dict[str, Actor] = {}
        self.checker = InvariantChecker()
        self.wires: list[Wire] = []
        self.held: set[tuple[str, str]] = set()
        self.cut: set[tuple[str, str]] = set()
        self.images: dict[str, Image] = {}
        self._trace: list[str] = []
        self._quiet = False
        self._indent = ""

    def say(self, text: str) -> None:
        """Add a line to the trace."""
        if not self._quiet:
            self._trace.append(self._indent + text)

    def play(self, block: Block) -> list[str]:
        """Carry out the commands: the trace they leave."""
        self._trace = []
        for number, line in enumerate(block.commands):
            try:
                self._command(line)
            except (ScriptError, ValueError, KeyError, IndexError, TypeError) as problem:
                raise ScriptError(f"line {block.line + number}: {line}: {problem!r}") from problem
        return self._trace

    def _command(self, line: str) -> None:
        name, *words = line.split()
        self._quiet = name == "quietly"
        if self._quiet:
            name, *words = words
        if name not in self._commands:
            raise ScriptError("there is no such command")
        self._commands[name](self, *words)

    def actor(self, name: str) -> Actor:
        """A node that is up."""
        actor = self.actors[name]
        if not actor.up:
            raise ScriptError(f"{name} is down")
        return actor

    def chosen(self, names: tuple[str, ...]) -> list[Actor]:
        """The named nodes, or all that are up."""
        return [self.actor(n) for n in names] if names else [a for a in self.actors.values() if a.up]

    def ask(self, name: str, question: Callable[[Raft], object]) -> None:
        """Give a node an input that it may refuse."""
        actor = self.actor(name)
        try:
            question(actor.node)
        except NotLeading as refusal:
            actor.say(f"refuses: {refusal.args[0] or 'nobody it knows'} leads, or will")
        except (ChangeRefused, TransferRefused) as refusal:
            actor.say(f"refuses: {refusal}")
        actor.act()

    def post(self, wire: Wire) -> None:
        """Take a message from a node."""
        receiver = self.actors.get(wire.to)
        lost = (wire.sender, wire.to) in self.cut or receiver is None or not receiver.up
        stranger = not (wire.message.is_reply or self._means(wire.sender, wire.to))
        note = " (not to this one)" if stranger else " (lost)" * lost
        self.say(f"{wire.sender} -> {wire.to} {wording.message(wire.message)}{note}")
        if not (lost or stranger):
            self.wires.append(wire)

    def deliver(self, wire: Wire) -> None:
        """Give a message to its receiver."""
        actor = self.actors[wire.to]
        stranger = wire.message.is_reply and not self._means(wire.to, wire.sender)
        text = f"{wire.to} <- {wire.sender} {wording.message(wire.message)}"
        self.say(text + " (not by this one)" * stranger)
        if stranger:
            return
        self._indent = "  "
        actor.node.step(wire.sender, wire.message)
        actor.act()
        self._indent = ""

    def _means(self, name: str, peer: str) -> bool:
        """Whether the node called `peer` now is the one that `name` speaks of."""
        if peer not in self.actors:
            return True
        state = self.actors[name].node.state
        return state.is_current_incarnation(peer, self.actors[peer].incarnation)

    def select(self, words: tuple[str, ...]) -> list[Wire]:
        """[K1->K2] [Type] [first|last]; either end may be *. Held ones only if a link is named."""
        left = list(words)
        chosen = self.wires
        if left and "->" in left[0]:
            link = left.pop(0)
            chosen = [w for w in chosen if joins(link, w.sender, w.to)]
        else:
            chosen = [w for w in chosen if (w.sender, w.to) not in self.held]
        if left and left[0] not in ("first", "last"):
            kind = left.pop(0)
            chosen = [w for w in chosen if type(w.message).__name__ == kind]
        if not chosen:
            raise ScriptError("no such message is in flight")
        if left:
            chosen = [chosen[{"first": 0, "last": -1}[left.pop(0)]]]
        return list(chosen)

    def take(self, wire: Wire) -> None:
        """Take a message out of flight; of equal ones any, so identity does not matter."""
        self.wires.remove(wire)

    def pairs(self, links: Iterable[str]) -> set[tuple[str, str]]:
        """The pairs of nodes that these links name."""
        return {(a, b) for link in links for a in self.actors for b in self.actors if joins(link, a, b)}


def joins(link: str, sender: str, to: str) -> bool:
    """Whether `link`, such as K1->K2 or *->K2, is from `sender` to `to`."""
    one, _, other = link.partition("->")
    return sender != to and one in (sender, "*") and other in (to, "*")
