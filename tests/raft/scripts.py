"""Golden scripts: conversations between nodes, told in prose, played by the real core and shown in full.

A script (`data/*.txt`) is text in paragraphs. One with a line `----` is a block: commands above it, the trace
that they leave below. All other paragraphs are prose. `play` carries the commands out and returns the text as
it should be, so that a test compares and `--rewrite` writes it down. `docs/scripts.md` lists the commands.

Nothing moves by itself: a message stays in flight until it is delivered or dropped, time is ticks. A disk is
prompt (a write is finished as soon as it is begun) until a script makes it slow. After every input the
checker of `kraft.raft.invariants` looks at the whole.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from kraft.raft.errors import ChangeRefused, NotLeading, TransferRefused
from kraft.raft.invariants import InvariantChecker
from kraft.raft.messages import Append, Entry, EntryKind, HardState
from kraft.raft.ports import RaftSettings
from kraft.raft.raft import Raft
from tests.raft import wording
from tests.raft.actors import Actor, Wire
from tests.raft.disk import Disk, Image
from tests.raft.values import EMPTY, bootstrap

ELECTION_TICKS, HEARTBEAT_TICKS = 10, 2
SETTLED_MESSAGES_MAX = 5000  # of one `settle`: more is a conversation that does not end
RULE = "----"


class ScriptError(Exception):
    """A command that means nothing, or cannot be carried out here."""


class Block(NamedTuple):
    """Commands, and the line of the first one in its file."""

    commands: tuple[str, ...]
    line: int


def paragraphs(text: str) -> list[str | Block]:
    """The script in its parts: prose as it stands, and blocks without their traces."""
    parts: list[str | Block] = []
    line = 1
    for paragraph in text.rstrip("\n").split("\n\n"):
        lines = paragraph.split("\n")
        if RULE in lines:
            parts.append(Block(tuple(lines[: lines.index(RULE)]), line))
        else:
            parts.append(paragraph)
        line += len(lines) + 1
    return parts


def play(text: str) -> str:
    """The script with the traces that its commands leave now."""
    stage = Stage()
    played = []
    for part in paragraphs(text):
        if isinstance(part, Block):
            trace = stage.play(part)
            played.append("\n".join([*part.commands, RULE, *trace]))
        else:
            played.append(part)
    return "\n\n".join(played) + "\n"


COMMANDS: dict[str, Callable[..., None]] = {}


def command(method: Callable[..., None]) -> Callable[..., None]:
    """A method that scripts call by its name; its docstring is its line in the manual."""
    COMMANDS[method.__name__] = method
    return method


class Stage:
    """The nodes of one script, the messages between them, and what has been seen."""

    def __init__(self) -> None:
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
        if name not in COMMANDS:
            raise ScriptError("there is no such command")
        COMMANDS[name](self, *words)

    def _actor(self, name: str) -> Actor:
        actor = self.actors[name]
        if not actor.up:
            raise ScriptError(f"{name} is down")
        return actor

    def _chosen(self, names: tuple[str, ...]) -> list[Actor]:
        return [self._actor(n) for n in names] if names else [a for a in self.actors.values() if a.up]

    def _ask(self, name: str, question: Callable[[Raft], object]) -> None:
        """Give a node an input that it may refuse."""
        actor = self._actor(name)
        try:
            question(actor.node)
        except NotLeading as refusal:
            actor.say(f"refuses: {refusal.args[0] or 'nobody it knows'} leads, or will")
        except (ChangeRefused, TransferRefused) as refusal:
            actor.say(f"refuses: {refusal}")
        actor.act()

    # Nodes

    @command
    def nodes(self, *words: str) -> None:
        """nodes K1 K2.. [learners=K4] [spare=K5] [timeouts=10,13] [leases=on] [message_bytes=1]"""
        voters, options = wording.options(words)
        listed = wording.listed
        learners, spare = listed(options.pop("learners", "")), listed(options.pop("spare", ""))
        names = [*voters, *learners, *spare]
        timeouts = [int(t) for t in listed(options.pop("timeouts", ""))]
        timeouts += [ELECTION_TICKS + 3 * i for i in range(len(timeouts), len(names))]
        settings = RaftSettings(
            ELECTION_TICKS,
            HEARTBEAT_TICKS,
            message_bytes=int(options.pop("message_bytes", "1000000")),
            leases=options.pop("leases", "off") == "on",
        )
        wording.none_left(options)
        first = bootstrap(wording.members(voters, learners))
        for name, timeout in zip(names, timeouts, strict=True):
            restored = EMPTY if name in spare else first
            self.actors[name] = Actor(self, name, restored, settings, timeout - ELECTION_TICKS)

    @command
    def holds(self, name: str, *words: str) -> None:
        """holds K2 TERM.. [term=N] [vote=K] [commit=N]: its log so far, after the first entry"""
        numbers, options = wording.options(words)
        terms = [1, *map(int, numbers)]
        state = HardState(int(options.pop("term", terms[-1])), options.pop("vote", ""))
        commit = int(options.pop("commit", 1))
        wording.none_left(options)
        actor = self.actors[name]
        first = actor.disk.entries[0]
        old = [_old(i, t) for i, t in enumerate(terms[1:], start=2)]
        actor.disk.entries, actor.disk.hard_state, actor.disk.commit = [first, *old], state, commit
        actor.start(actor.disk.restored())

    @command
    def campaign(self, name: str) -> None:
        """campaign K1"""
        self._ask(name, Raft.campaign)

    @command
    def elect(self, name: str) -> None:
        """elect K1: campaign, and settle"""
        self.campaign(name)
        self.settle()

    @command
    def propose(self, name: str, *values: str) -> None:
        """propose K1 a b: an entry for each value, in one turn"""

        def propose(node: Raft) -> None:
            for value in values:
                node.propose(EntryKind.COMMANDS, node.state.log.last_stamp, value.encode())

        self._ask(name, propose)

    @command
    def read(self, name: str, ctx: str) -> None:
        """read K1 7: begin a read called 7"""
        self._ask(name, lambda node: node.read(int(ctx)))

    @command
    def transfer(self, name: str, to: str) -> None:
        """transfer K1 K2"""
        self._ask(name, lambda node: node.transfer(to))

    @command
    def reconfigure(self, name: str, change: str, *words: str) -> None:
        """reconfigure K1 add K4 [learner] | remove K2 | promote K4 | demote K3 | replace K3 K4 | target K1"""
        make = wording.CHANGES[change]
        self._ask(name, lambda node: node.reconfigure(make(node.state.configuration, *words)))

    @command
    def drain(self, name: str, switch: str) -> None:
        """drain K2 on|off"""
        self._ask(name, lambda node: node.drain(switch == "on"))

    @command
    def suspend(self, name: str) -> None:
        """suspend K2: its disk is full"""
        self._ask(name, Raft.suspend)

    @command
    def resume(self, name: str) -> None:
        """resume K2: there is room again"""
        self._ask(name, Raft.resume)

    @command
    def lost(self, name: str, peer: str) -> None:
        """lost K2 K1: the process of K1 closed its link to K2"""
        self._ask(name, lambda node: node.leader_lost(peer))

    @command
    def tick(self, count: str, *names: str) -> None:
        """tick 3 [K1..]: time passes for the named nodes, or all, in turns"""
        for _ in range(int(count)):
            for actor in self._chosen(names):
                actor.node.tick()
                actor.act()

    @command
    def run(self, count: str, *names: str) -> None:
        """run 3 [K1..]: the same, settled after each tick"""
        for _ in range(int(count)):
            self.tick("1", *names)
            self.settle()

    # Network

    def post(self, wire: Wire) -> None:
        """Take a message from a node."""
        receiver = self.actors.get(wire.to)
        lost = (wire.sender, wire.to) in self.cut or receiver is None or not receiver.up
        stranger = not (wire.message.is_reply or self._means(wire.sender, wire.to))
        note = " (not to this one)" if stranger else " (lost)" * lost
        self.say(f"{wire.sender} -> {wire.to} {wording.message(wire.message)}{note}")
        if not (lost or stranger):
            self.wires.append(wire)

    def _deliver(self, wire: Wire) -> None:
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

    def _select(self, words: tuple[str, ...]) -> list[Wire]:
        """[K1->K2] [Type] [first|last]; either end may be *. Held ones only if a link is named."""
        left = list(words)
        chosen = self.wires
        if left and "->" in left[0]:
            link = left.pop(0)
            chosen = [w for w in chosen if _on(link, w)]
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

    def _take(self, wire: Wire) -> None:
        """Out of flight; of equal messages any one, so identity does not matter."""
        self.wires.remove(wire)

    @command
    def deliver(self, *words: str) -> None:
        """deliver [K1->K2] [Append] [first|last]: what is in flight now, not what comes of it"""
        for wire in self._select(words):
            self._take(wire)
            self._deliver(wire)

    @command
    def forge(self, link: str, *words: str) -> None:
        """forge K1->K2 3/2 .. term=4 prev=2/2 commit=3: an Append with old entries that nobody sent"""
        positions, options = wording.options(words)
        entries = tuple(_old(*map(int, position.split("/"))) for position in positions)
        index, term = map(int, options.pop("prev").split("/"))
        message = Append(int(options.pop("term")), index, term, int(options.pop("commit")), entries)
        wording.none_left(options)
        sender, _, to = link.partition("->")
        self.post(Wire(sender, to, message))

    @command
    def drop(self, *words: str) -> None:
        """drop: as deliver, but lose it"""
        for wire in self._select(words):
            self._take(wire)
            self.say(f"{wire.sender} -> {wire.to} {wording.message(wire.message)} (lost)")

    @command
    def duplicate(self, *words: str) -> None:
        """duplicate: as deliver, but a second copy joins the end of the line"""
        for wire in self._select(words):
            self.wires.append(wire)
            self.say(f"{wire.sender} -> {wire.to} {wording.message(wire.message)} (again)")

    @command
    def hold(self, *links: str) -> None:
        """hold K1->K2..: what is sent there waits until it is delivered by that link, or released"""
        self.held.update(self._pairs(links))

    @command
    def release(self, *links: str) -> None:
        """release K1->K2.."""
        self.held.difference_update(self._pairs(links))

    @command
    def partition(self, *links: str) -> None:
        """partition K1->K2..: what is sent there is lost, what is in flight as well"""
        self.cut.update(self._pairs(links))
        self.wires = [w for w in self.wires if (w.sender, w.to) not in self.cut]

    @command
    def isolate(self, name: str) -> None:
        """isolate K1: cut all its links"""
        self.partition(f"{name}->*", f"*->{name}")

    @command
    def heal(self, *links: str) -> None:
        """heal [K1->K2..]: the links carry messages again, all of them if none is named"""
        self.cut.difference_update(self._pairs(links or ("*->*",)))

    def _pairs(self, links: Iterable[str]) -> set[tuple[str, str]]:
        return {(a, b) for link in links for a in self.actors for b in self.actors if _joins(link, a, b)}

    @command
    def settle(self) -> None:
        """settle: deliver until nothing that is not held is in flight"""
        for _ in range(SETTLED_MESSAGES_MAX):
            wire = next((w for w in self.wires if (w.sender, w.to) not in self.held), None)
            if wire is None:
                return
            self._take(wire)
            self._deliver(wire)
        raise ScriptError("this does not end")

    # Disk

    @command
    def disk(self, name: str, order: str, *words: str) -> None:
        """disk K1 slow | prompt | finish [N]: how its writes go; finish the oldest N, or all"""
        actor = self._actor(name)
        if order == "finish":
            if not actor.writes:
                raise ScriptError("nothing is being written")
            actor.finish_writes(*map(int, words))
        else:
            slow = {"slow": True, "prompt": False}[order]
            if not slow:
                actor.finish_writes()
            actor.slow = slow
        actor.act()

    @command
    def crash(self, name: str, *words: str) -> None:
        """crash K1 [N]: unfinished writes are lost, but for the first N, of which it did not hear"""
        actor = self._actor(name)
        actor.crash(*map(int, words or ("0",)))
        self.wires = [w for w in self.wires if w.to != name]

    @command
    def restart(self, name: str) -> None:
        """restart K1: from its disk"""
        actor = self.actors[name]
        if actor.up:
            raise ScriptError(f"{name} is up")
        actor.start(actor.disk.restored())
        self.say(wording.status(actor.node))

    @command
    def wipe(self, name: str) -> None:
        """wipe K3: it begins anew with an empty directory, as K3'"""
        actor = self.actors[name]
        actor.crash(0)
        self.wires = [w for w in self.wires if name not in (w.sender, w.to)]
        actor.incarnation += "'"
        actor.disk = Disk(EMPTY)
        actor.start(EMPTY)

    # Snapshots

    @command
    def compact(self, name: str, index: str) -> None:
        """compact K1 5: take a checkpoint of what is applied, forget the log up to 5"""
        self._actor(name).checkpoint()
        self._ask(name, lambda node: node.compact(int(index)))

    @command
    def copy(self, name: str, label: str) -> None:
        """copy K1 early: take a checkpoint of K1 and keep a copy of it, called early"""
        image = self.images[label] = self._actor(name).checkpoint()
        self.say(f"{label} is {wording.base(image.base)}")

    @command
    def install(self, name: str, label: str) -> None:
        """install K3 early: the copy has arrived at K3"""
        actor, image = self._actor(name), self.images[label]
        if actor.node.install(image.base, actor.disk.add_state(image)):
            actor.say(f"installs {wording.base(image.base)}")
        else:
            actor.say(f"has no use for {wording.base(image.base)}")
        actor.act()

    @command
    def ended(self, name: str, peer: str) -> None:
        """ended K1 K3: the copying from K1 to K3 ended, well or not"""
        self._ask(name, lambda node: node.snapshot_ended(peer))

    # Looking

    @command
    def status(self, *names: str) -> None:
        """status [K1..]"""
        for actor in self._chosen(names):
            self.say(wording.status(actor.node))

    @command
    def log(self, *names: str) -> None:
        """log [K1..]: the log on disk, what is known there to be committed before the bar"""
        for actor in self._chosen(names):
            commit = actor.node.state.commit
            known = [wording.entry(e) for e in actor.disk.entries if e.index <= commit]
            open_ = [wording.entry(e) for e in actor.disk.entries if e.index > commit]
            actor.say(" ".join([f"{actor.disk.base.index}:", *known, "|", *open_]))

    @command
    def progress(self, name: str) -> None:
        """progress K1: how far its followers are, as it knows"""
        for p in self._actor(name).node.progress():
            where = f"match {p.match}, next {p.next}, unanswered {p.inflight}"
            self.say(f"{name} sees {p.peer}: {p.state}, {where}")

    @command
    def flight(self) -> None:
        """flight: the messages in flight"""
        for w in self.wires:
            self.say(f"{w.sender} -> {w.to} {wording.message(w.message)}")


def _old(index: int, term: int) -> Entry:
    """An entry from before the script."""
    return Entry(index, term, 0, EntryKind.COMMANDS, b"old")


def _joins(link: str, a: str, b: str) -> bool:
    sender, _, to = link.partition("->")
    return a != b and sender in (a, "*") and to in (b, "*")


def _on(link: str, wire: Wire) -> bool:
    return _joins(link, wire.sender, wire.to)
