"""The commands of golden scripts, one function each: `docs/scripts.md` lists them."""

from collections.abc import Callable

from kraft.raft.messages import Append, Entry, EntryKind, HardState
from kraft.raft.ports import RaftSettings
from kraft.raft.raft import Raft
from tests.raft import wording
from tests.raft.actors import Actor, Wire
from tests.raft.disk import Disk
from tests.raft.stage import ScriptError, Stage
from tests.raft.values import EMPTY, bootstrap

ELECTION_TICKS, HEARTBEAT_TICKS = 10, 2
SETTLED_MESSAGES_MAX = 5000  # of one `settle`: more is a conversation that does not end

COMMANDS: dict[str, Callable[..., None]] = {}


def command(function: Callable[..., None]) -> Callable[..., None]:
    """A function that scripts call by its name; its docstring is its line in the manual."""
    COMMANDS[function.__name__] = function
    return function


# Nodes


@command
def nodes(stage: Stage, *words: str) -> None:
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
        stage.actors[name] = Actor(stage, name, restored, settings, timeout - ELECTION_TICKS)


@command
def holds(stage: Stage, name: str, *words: str) -> None:
    """holds K2 TERM.. [term=N] [vote=K] [commit=N]: its log so far, after the first entry"""
    numbers, options = wording.options(words)
    terms = [1, *map(int, numbers)]
    state = HardState(int(options.pop("term", terms[-1])), options.pop("vote", ""))
    commit = int(options.pop("commit", 1))
    wording.none_left(options)
    actor = stage.actors[name]
    first = actor.disk.entries[0]
    old = [_old(i, t) for i, t in enumerate(terms[1:], start=2)]
    actor.disk.entries, actor.disk.hard_state, actor.disk.commit = [first, *old], state, commit
    actor.start(actor.disk.restored())


@command
def campaign(stage: Stage, name: str) -> None:
    """campaign K1"""
    stage.ask(name, Raft.campaign)


@command
def elect(stage: Stage, name: str) -> None:
    """elect K1: campaign, and settle"""
    campaign(stage, name)
    settle(stage)


@command
def propose(stage: Stage, name: str, *values: str) -> None:
    """propose K1 a b: an entry for each value, in one turn"""

    def propose(node: Raft) -> None:
        for value in values:
            node.propose(EntryKind.COMMANDS, node.state.log.last_stamp, value.encode())

    stage.ask(name, propose)


@command
def read(stage: Stage, name: str, ctx: str) -> None:
    """read K1 7: begin a read called 7"""
    stage.ask(name, lambda node: node.read(int(ctx)))


@command
def transfer(stage: Stage, name: str, to: str) -> None:
    """transfer K1 K2"""
    stage.ask(name, lambda node: node.transfer(to))


@command
def reconfigure(stage: Stage, name: str, change: str, *words: str) -> None:
    """reconfigure K1 add K4 [learner] | remove K2 | promote K4 | demote K3 | replace K3 K4 | target K1"""
    make = wording.CHANGES[change]
    stage.ask(name, lambda node: node.reconfigure(make(node.state.configuration, *words)))


@command
def drain(stage: Stage, name: str, switch: str) -> None:
    """drain K2 on|off"""
    stage.ask(name, lambda node: node.drain(switch == "on"))


@command
def suspend(stage: Stage, name: str) -> None:
    """suspend K2: its disk is full"""
    stage.ask(name, Raft.suspend)


@command
def resume(stage: Stage, name: str) -> None:
    """resume K2: there is room again"""
    stage.ask(name, Raft.resume)


@command
def lost(stage: Stage, name: str, peer: str) -> None:
    """lost K2 K1: the process of K1 closed its link to K2"""
    stage.ask(name, lambda node: node.leader_lost(peer))


@command
def tick(stage: Stage, count: str, *names: str) -> None:
    """tick 3 [K1..]: time passes for the named nodes, or all, in turns"""
    for _ in range(int(count)):
        for actor in stage.chosen(names):
            actor.node.tick()
            actor.act()


@command
def run(stage: Stage, count: str, *names: str) -> None:
    """run 3 [K1..]: the same, settled after each tick"""
    for _ in range(int(count)):
        tick(stage, "1", *names)
        settle(stage)


# Network


@command
def deliver(stage: Stage, *words: str) -> None:
    """deliver [K1->K2] [Append] [first|last]: what is in flight now, not what comes of it"""
    for wire in stage.select(words):
        stage.take(wire)
        stage.deliver(wire)


@command
def forge(stage: Stage, link: str, *words: str) -> None:
    """forge K1->K2 3/2 .. term=4 prev=2/2 commit=3: an Append with old entries that nobody sent"""
    positions, options = wording.options(words)
    entries = tuple(_old(*map(int, position.split("/"))) for position in positions)
    index, term = map(int, options.pop("prev").split("/"))
    message = Append(int(options.pop("term")), index, term, int(options.pop("commit")), entries)
    wording.none_left(options)
    sender, _, to = link.partition("->")
    stage.post(Wire(sender, to, message))


@command
def drop(stage: Stage, *words: str) -> None:
    """drop: as deliver, but lose it"""
    for wire in stage.select(words):
        stage.take(wire)
        stage.say(f"{wire.sender} -> {wire.to} {wording.message(wire.message)} (lost)")


@command
def duplicate(stage: Stage, *words: str) -> None:
    """duplicate: as deliver, but a second copy joins the end of the line"""
    for wire in stage.select(words):
        stage.wires.append(wire)
        stage.say(f"{wire.sender} -> {wire.to} {wording.message(wire.message)} (again)")


@command
def hold(stage: Stage, *links: str) -> None:
    """hold K1->K2..: what is sent there waits until it is delivered by that link, or released"""
    stage.held.update(stage.pairs(links))


@command
def release(stage: Stage, *links: str) -> None:
    """release K1->K2.."""
    stage.held.difference_update(stage.pairs(links))


@command
def partition(stage: Stage, *links: str) -> None:
    """partition K1->K2..: what is sent there is lost, what is in flight as well"""
    stage.cut.update(stage.pairs(links))
    stage.wires = [w for w in stage.wires if (w.sender, w.to) not in stage.cut]


@command
def isolate(stage: Stage, name: str) -> None:
    """isolate K1: cut all its links"""
    partition(stage, f"{name}->*", f"*->{name}")


@command
def heal(stage: Stage, *links: str) -> None:
    """heal [K1->K2..]: the links carry messages again, all of them if none is named"""
    stage.cut.difference_update(stage.pairs(links or ("*->*",)))


@command
def settle(stage: Stage) -> None:
    """settle: deliver until nothing that is not held is in flight"""
    for _ in range(SETTLED_MESSAGES_MAX):
        wire = next((w for w in stage.wires if (w.sender, w.to) not in stage.held), None)
        if wire is None:
            return
        stage.take(wire)
        stage.deliver(wire)
    raise ScriptError("this does not end")


# Disk


@command
def disk(stage: Stage, name: str, order: str, *words: str) -> None:
    """disk K1 slow | prompt | finish [N]: how its writes go; finish the oldest N, or all"""
    actor = stage.actor(name)
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
def crash(stage: Stage, name: str, *words: str) -> None:
    """crash K1 [N]: unfinished writes are lost, but for the first N, of which it did not hear"""
    actor = stage.actor(name)
    actor.crash(*map(int, words or ("0",)))
    stage.wires = [w for w in stage.wires if w.to != name]


@command
def restart(stage: Stage, name: str) -> None:
    """restart K1: from its disk"""
    actor = stage.actors[name]
    if actor.up:
        raise ScriptError(f"{name} is up")
    actor.start(actor.disk.restored())
    stage.say(wording.status(actor.node))


@command
def wipe(stage: Stage, name: str) -> None:
    """wipe K3: it begins anew with an empty directory, as K3'"""
    actor = stage.actors[name]
    actor.crash(0)
    stage.wires = [w for w in stage.wires if name not in (w.sender, w.to)]
    actor.incarnation += "'"
    actor.disk = Disk(EMPTY)
    actor.start(EMPTY)


# Snapshots


@command
def compact(stage: Stage, name: str, index: str) -> None:
    """compact K1 5: take a checkpoint of what is applied, forget the log up to 5"""
    stage.actor(name).checkpoint()
    stage.ask(name, lambda node: node.compact(int(index)))


@command
def copy(stage: Stage, name: str, label: str) -> None:
    """copy K1 early: take a checkpoint of K1 and keep a copy of it, called early"""
    image = stage.images[label] = stage.actor(name).checkpoint()
    stage.say(f"{label} is {wording.base(image.base)}")


@command
def install(stage: Stage, name: str, label: str) -> None:
    """install K3 early: the copy has arrived at K3"""
    actor, image = stage.actor(name), stage.images[label]
    if actor.node.install(image.base, actor.disk.add_state(image)):
        actor.say(f"installs {wording.base(image.base)}")
    else:
        actor.say(f"has no use for {wording.base(image.base)}")
    actor.act()


@command
def ended(stage: Stage, name: str, peer: str) -> None:
    """ended K1 K3: the copying from K1 to K3 ended, well or not"""
    stage.ask(name, lambda node: node.snapshot_ended(peer))


# Looking


@command
def status(stage: Stage, *names: str) -> None:
    """status [K1..]"""
    for actor in stage.chosen(names):
        stage.say(wording.status(actor.node))


@command
def log(stage: Stage, *names: str) -> None:
    """log [K1..]: the log on disk, what is known there to be committed before the bar"""
    for actor in stage.chosen(names):
        commit = actor.node.state.commit
        known = [wording.entry(e) for e in actor.disk.entries if e.index <= commit]
        open_ = [wording.entry(e) for e in actor.disk.entries if e.index > commit]
        actor.say(" ".join([f"{actor.disk.base.index}:", *known, "|", *open_]))


@command
def progress(stage: Stage, name: str) -> None:
    """progress K1: how far its followers are, as it knows"""
    for p in stage.actor(name).node.progress():
        where = f"match {p.match}, next {p.next}, unanswered {p.inflight}"
        stage.say(f"{name} sees {p.peer}: {p.state}, {where}")


@command
def flight(stage: Stage) -> None:
    """flight: the messages in flight"""
    for w in stage.wires:
        stage.say(f"{w.sender} -> {w.to} {wording.message(w.message)}")


def _old(index: int, term: int) -> Entry:
    """An entry from before the script."""
    return Entry(index, term, 0, EntryKind.COMMANDS, b"old")
