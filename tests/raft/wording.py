"""The words of golden scripts: how a trace names what happens, and how a command is read.

An entry is `index/term:what`; a configuration `{voters | learners}`, a joint one `{..} => {..}`. A member
under the id of a former one has a prime for each predecessor (`K3'`): so scripts name incarnations.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from kraft.raft.membership import changes
from kraft.raft.membership.configuration import Base, Configuration, Joining, Member, decode
from kraft.raft.messages import (
    Append,
    AppendReply,
    Entry,
    EntryKind,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVote,
    PreVoteReply,
    TimeoutNow,
    Vote,
    VoteReply,
)
from kraft.raft.raft import Raft
from kraft.raft.ready import Persist


def member(text: str) -> Member:
    """`K3'` is the second one to be K3; each has its own address."""
    id_ = text.rstrip("'")
    return Member(id_, text, f"{text}:1")


def members(voters: Iterable[str], learners: Iterable[str] = ()) -> Configuration:
    """A configuration of members that may be new incarnations."""
    of_voters, of_learners = [member(v) for v in voters], [member(n) for n in learners]
    return Configuration(
        tuple(sorted([*of_voters, *of_learners])),
        tuple(sorted(m.id for m in of_voters)),
        tuple(sorted(m.id for m in of_learners)),
    )


def configuration(c: Configuration) -> str:
    """`{K1 K2 | K3 to vote}`; nothing known is `{}`."""
    incarnations = {m.id: m.incarnation for m in c.members}
    promises = {j.id: j for j in c.joining}
    voters = " ".join(incarnations[v] for v in c.voters)
    learners = " ".join(incarnations[n] + _promise(promises.get(n)) for n in c.learners)
    own = f"{{{voters} | {learners}}}" if learners else f"{{{voters}}}"
    return own if c.target is None else f"{own} => {configuration(c.target)}"


def _promise(joining: Joining | None) -> str:
    if joining is None:
        return ""
    return f" for {joining.replaces}" if joining.replaces else " to vote"


def entry(e: Entry) -> str:
    if e.kind == EntryKind.CONFIGURATION:
        what = configuration(decode(e.data))
    else:
        what = e.data.decode() or EntryKind(e.kind).name.lower()
    return f"{e.index}/{e.term}:{what}"


def entries(some: Iterable[Entry]) -> str:
    return f"[{', '.join(map(entry, some))}]"


def base(b: Base) -> str:
    return f"{b.index}/{b.term} {configuration(b.configuration)}"


def _verdict(granted: bool) -> str:
    return "yes" if granted else "no"


def _append_reply(m: AppendReply) -> str:
    if m.rejected:
        return f"term={m.term} no={m.index} hint={m.hint_index}/{m.hint_term}"
    return f"term={m.term} ok={m.index}"


_FIELDS: dict[type, Callable[[Any], str]] = {
    PreVote: lambda m: f"term={m.term} log={m.last_index}/{m.last_term}",
    PreVoteReply: lambda m: f"term={m.term} {_verdict(m.granted)}",
    Vote: lambda m: f"term={m.term} log={m.last_index}/{m.last_term}" + " transfer" * m.transfer,
    VoteReply: lambda m: f"term={m.term} {_verdict(m.granted)}",
    Append: lambda m: (
        f"term={m.term} prev={m.prev_index}/{m.prev_term} commit={m.commit} {entries(m.entries)}"
    ),
    AppendReply: _append_reply,
    Heartbeat: lambda m: f"term={m.term} commit={m.commit} round={m.round} newest={m.newest}",
    HeartbeatReply: lambda m: f"term={m.term} round={m.round}",
    TimeoutNow: lambda m: f"term={m.term}",
}


def message(m: Message) -> str:
    return f"{type(m).__name__} {_FIELDS[type(m)](m)}"


def write(p: Persist) -> str:
    """What one write holds, in the order in which it is carried out."""
    parts = []
    if p.hard_state is not None:
        parts.append(f"term={p.hard_state.term} vote={p.hard_state.vote or 'nobody'}")
    if p.truncate_from is not None:
        parts.append(f"cut from {p.truncate_from}")
    if p.base is not None:
        parts.append(f"log after {p.base.index}/{p.base.term}")
    if p.state_file is not None:
        parts.append(f"state file {p.state_file}")
    if p.entries:
        parts.append(entries(p.entries))
    return ", ".join(parts) or "nothing, only to keep the order"


def span(some: tuple[Entry, ...]) -> str:
    first, last = some[0].index, some[-1].index
    return f"{first}" if first == last else f"{first}..{last}"


def following(role: str, term: int, leader: str) -> str:
    """The role in the words of a story."""
    if role in ("follower", "learner"):
        return f"is {role} of {leader or 'nobody'}, term {term}"
    return f"is {role}, term {term}"


def status(node: Raft) -> str:
    state, log = node.state, node.state.log
    return (
        f"{state.id} {following(state.role, state.term, state.leader)}, vote {state.vote or 'nobody'}, "
        f"log {log.base.index}..{log.last_index}, durable {log.durability.durable}, commit {state.commit}, "
        f"applied {state.applied}, {configuration(state.configuration)}"
    )


# Reading


def listed(text: str) -> list[str]:
    return text.split(",") if text else []


def options(words: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Plain words, and those of the form name=value."""
    words = list(words)
    return [w for w in words if "=" not in w], dict(w.split("=") for w in words if "=" in w)


def none_left(given: dict[str, str]) -> None:
    if given:
        raise ValueError(f"unknown option {next(iter(given))}")


def _added(c: Configuration, new: str, *learner: str) -> Configuration:
    return changes.added(c, member(new), joining=not learner)


def _target(c: Configuration, *voters: str) -> Configuration:
    """Exactly these, whoever has to come or to go for it."""
    target = members(voters)
    leaving = {m.incarnation for m in c.members} - {m.incarnation for m in target.members}
    return msgspec.structs.replace(target, retired=tuple(sorted(leaving.union(c.retired))))


CHANGES: dict[str, Callable[..., Configuration]] = {
    "add": _added,
    "remove": changes.removed,
    "promote": changes.promoted,
    "demote": changes.demoted,
    "replace": lambda c, old, new: changes.replaced(c, old, member(new)),
    "target": _target,
}
