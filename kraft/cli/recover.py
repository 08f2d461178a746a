"""`kraft recover`: makes a new cluster from the data of one survivor when a majority is lost for good.

Without `--yes` it is a dry run that shows which data would be kept and which may be lost, and at a terminal
asks before it goes on. `kraft.storage.offline.recovery` explains the procedure and why it is safe.
"""

import argparse
import json
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from kraft.cli.failure import Failure
from kraft.cli.output.blocks import BAD, COMMAND, DIM, EMPTY, GOOD, STRONG, WARN, Line, Span, line
from kraft.cli.output.display import display
from kraft.host.membership.formation import cluster_id
from kraft.storage.errors import Damaged, DirectoryLocked, StorageError
from kraft.storage.offline.group_findings import GroupFindings
from kraft.storage.offline.recovery import Findings, Recovery, gone_min, open_recovery

MARK_BYTES = 16
SLOTS_SHOWN = 16  # ranges
CLUSTER_SHOWN = 12  # letters of a cluster id, enough to tell it from others

EXAMPLES = """\
examples:
  kraft recover /var/lib/kraft/K1            show the data of this survivor; nothing is changed
  kraft recover --json /var/lib/kraft/K1     the same for programs
  kraft recover --yes /var/lib/kraft/K1      make a new cluster of it
  kraft recover /var/lib/kraft/K1 --from /mnt/K3 --from /mnt/K5
                                             with groups that K1 lacks, or that others know better

Only for a cluster that has lost a majority for good. Stop the remaining nodes, make a dry run on every
survivor, and recover the one whose last entry has the highest term; among equal terms, the highest index.
Start it as usual, wipe the others, and add them with KRAFT ADD. docs/recovery.md describes each step.

exit status: 0 shown or done, 1 not possible, 2 wrong usage
"""


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand."""
    parser.description = "Makes a stopped node the only voter of a new cluster that has the data of the node."
    parser.epilog = EXAMPLES
    parser.add_argument("directory", metavar="DIR", help="the node's data directory (node.data)")
    parser.add_argument(
        "--from",
        dest="others",
        metavar="DIR",
        action="append",
        default=[],
        help="the data directory of another survivor, or a copy of it, which is only read (repeatable)",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--yes", action="store_true", help="do it without asking")
    what.add_argument("--dry-run", action="store_true", help="only show, do not ask (at a terminal)")
    parser.add_argument("--json", action="store_true", help="print one JSON object; asks nothing")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Show the data of the node and recover it if asked to. Returns the exit status."""
    try:
        with _opened(chosen.directory, chosen.others) as recovery:
            return _run(chosen, recovery)
    except StorageError as error:
        raise Failure(_explained(error)) from None


def _opened(directory: str, others: Sequence[str]) -> Recovery:
    """The directories, which are read whole, and verified as at a start."""
    with display().work(f"reading {', '.join((directory, *others))}", "keys") as report:
        return open_recovery(directory, report=lambda _, keys, of: report(keys, of), others=others)


def _run(chosen: argparse.Namespace, recovery: Recovery) -> int:
    found, now_ms = recovery.findings, time.time_ns() // 1_000_000
    if chosen.json:
        cluster = _carry_out(recovery) if chosen.yes else None
        print(json.dumps(facts(chosen.directory, found, cluster), indent=2))
        return 0
    out = display()
    out.show(*report(chosen.directory, found, now_ms))
    if not chosen.yes:
        out.show(EMPTY, *(line(text, hang=2) for text in advice(found)))
    if not chosen.yes and not (_can_ask(chosen) and _agreed(found.identity.id)):
        out.show(EMPTY, line("nothing was changed"))
        return 0
    out.show(EMPTY, *outcome(found, _carry_out(recovery)))
    return 0


def _carry_out(recovery: Recovery) -> str:
    """Recover the node. Returns the id of the new cluster."""
    return recovery.carry_out(cluster_id, secrets.token_hex(MARK_BYTES)).cluster


def _can_ask(chosen: argparse.Namespace) -> bool:
    return not chosen.dry_run and sys.stdin.isatty() and sys.stdout.isatty()


def _agreed(id_: str) -> bool:
    """Whether the user typed the id of the node. Raises Failure for any other text."""
    print()
    try:
        answer = input(f"To do it, type the id of this node ({id_}); Enter leaves everything as it is: ")
    except EOFError:
        answer = ""
    if answer.strip() not in ("", id_):
        raise Failure(f"{answer.strip()!r} is not the id of this node: nothing was changed")
    return bool(answer.strip())


def _explained(error: StorageError) -> str:
    if isinstance(error, DirectoryLocked):
        return f"{error}: stop the node first"
    if isinstance(error, Damaged):
        return f"{error}. It cannot be recovered from: take another survivor, or a backup"
    return str(error)


# -- output -------------------------------------------------------------------------------------------


LABEL_WIDTH = 13
_STYLES = {"kept": GOOD, "kept as well": GOOD, "lost": BAD, "WARNING": WARN}


def report(directory: str, found: Findings, now_ms: int) -> Iterator[Line]:
    """The report. `now_ms` is the Unix time of this machine in milliseconds."""
    id_, cluster = found.identity.id, found.identity.cluster[:CLUSTER_SHOWN]
    yield line(f"{directory}: node ", Span(id_, STRONG), f" of cluster {cluster}, {_kind(found)}")
    for group in found.groups:
        yield EMPTY
        source = "" if group.path == directory else f", from {group.path} of {group.node}"
        if len(found.groups) > 1 or source:
            yield line(f"group {group.group}{source}")
        for name, text in _group_lines(group, now_ms):
            label = Span(f"{name:<{LABEL_WIDTH}}", _STYLES.get(name, DIM))
            yield line("  ", label, f" {text}", hang=LABEL_WIDTH + 3)
    if found.damage:
        yield EMPTY
        for name, text in _damage_lines(found):
            label = Span(f"{name:<{LABEL_WIDTH}}", _STYLES.get(name, DIM))
            yield line("  ", label, f" {text}", hang=LABEL_WIDTH + 3)
    if found.settled or found.unsettled:
        yield EMPTY
        yield line("slots")
        for text in _slot_lines(found):
            yield line("  ", text, hang=2)


_CHOICE = (
    "- on all other survivors run this too; recover the one whose last entry has the highest term, and",
    "  among equal terms the highest index. Recover one node only",
)
_CHOICE_FROM_SEVERAL = (
    "- name the directories of all survivors with --from: of each group that log counts whose last entry",
    "  has the highest term, and among equal terms the highest index. Recover one node only",
)


def advice(found: Findings) -> Iterator[str]:
    """Lines of advice before the recovery."""
    id_ = found.identity.id
    yield "Before you go on:"
    for voters in found.majorities:
        yield f"- {gone_min(voters)} of the {len(voters)} voters ({', '.join(voters)}) must be gone for good:"
        yield "  as long as fewer are, start the others instead"
    yield from _CHOICE_FROM_SEVERAL if any(group.node != id_ for group in found.groups) else _CHOICE
    yield f"- with --yes {id_} becomes the only voter of a new cluster; all other members are retired, and"
    yield "  have to be wiped and added again"


def _kind(found: Findings) -> str:
    configuration, id_ = found.configuration, found.identity.id
    kind = "a voter" if id_ in configuration.electors else "a learner"
    others = [member.id for member in configuration.everyone if member.id != id_]
    under_way = "; a change of the voters was under way" if configuration.joint else ""
    return f"{kind}; other members: {', '.join(others) or 'none'}{under_way}"


def _group_lines(group: GroupFindings, now_ms: int) -> Iterator[tuple[str, str]]:
    place = f"index {group.last_index} of term {group.last_term}"
    yield "last entry", f"{place}, {age(group.last_stamp, now_ms)}"
    yield "kept", f"entries up to {group.committed}: known to be committed"
    if group.uncommitted:
        entries, orders = _count(group.uncommitted, "entry", "entries"), _count(group.commands, "command")
        yield "kept as well", f"{entries} after that, {orders}, may or may not have been acknowledged:"
        yield "", "they are kept"
    yield "lost", f"anything after {place}: writes that the lost majority acknowledged"
    yield "", f"and {group.node} never got; how many cannot be known here"
    if group.fenced:
        yield (
            "WARNING",
            f"the data of {group.node} differed from the other replicas' when they were compared:",
        )
        yield "", "prefer another survivor, even one with fewer entries"
    if group.left_out:
        term, index = group.left_out_last
        yield (
            "WARNING",
            f"the log in {group.left_out} ends later, with index {index} of term {term}, and is left out:",
        )
        yield "", "its data differed from the other replicas' when they were compared"


def _damage_lines(found: Findings) -> Iterator[tuple[str, str]]:
    reason = found.damage.partition(";")[0]
    yield "WARNING", f"a process has ended because of damage in {found.damaged}: {reason}"
    yield "", "what is read above is whole, but prefer another survivor"


def _slot_lines(found: Findings) -> Iterator[str]:
    """What becomes of slots that moved when the majority was lost, and have no owner here, or several."""
    for each in found.settled[:SLOTS_SHOWN]:
        slots = f"slot {each.first}" if each.first == each.last else f"slots {each.first}-{each.last}"
        keys = _count(each.keys, "key")
        if each.had:
            groups = " and ".join(map(str, each.had))
            yield f"{slots}: groups {groups} have them here; group {each.group} keeps them, with {keys}"
        else:
            yield f"{slots}: no group has them here; group {each.group} gets them, with {keys}"
    if len(found.settled) > SLOTS_SHOWN:
        yield f"and {len(found.settled) - SLOTS_SHOWN} ranges more: --json shows all"
    if found.unsettled:
        yield f"WARNING: some have no owner, or several, and this cannot be mended: {found.unsettled}"


def outcome(found: Findings, cluster: str) -> Iterator[Line]:
    """The lines after the recovery."""
    id_, command = found.identity.id, "KRAFT ADD <id> <host> <peer port>"
    yield line(Span("done", GOOD), f": {id_} is the only voter of the new cluster {cluster[:CLUSTER_SHOWN]}")
    yield line(
        f"next: start {id_} as usual; then, for each other node: wipe its data directory, start it with"
    )
    yield line(f"cluster.standby: true, and run on {id_}: ", Span(command, COMMAND))


def facts(directory: str, found: Findings, cluster: str | None) -> dict[str, Any]:
    """The report as JSON values; `cluster` is the id of the new cluster, None for a dry run."""
    configuration = found.configuration
    return {
        "directory": directory,
        "node": found.identity.id,
        "incarnation": found.identity.incarnation,
        "cluster": found.identity.cluster,
        "voters": list(configuration.voters),
        "learners": list(configuration.learners),
        "joint": configuration.joint,
        "must_be_gone": [gone_min(voters) for voters in found.majorities],
        "groups": [_group_facts(group) for group in found.groups],
        "slots": [
            {"first": s.first, "last": s.last, "had": list(s.had), "group": s.group, "keys": s.keys}
            for s in found.settled
        ],
        "unsettled": found.unsettled,
        "damage": found.damage,
        "recovered": cluster is not None,
        "new_cluster": cluster,
    }


def _group_facts(group: GroupFindings) -> dict[str, Any]:
    return {
        "group": group.group,
        "node": group.node,
        "directory": group.path,
        "last_term": group.last_term,
        "last_index": group.last_index,
        "last_stamp_ms": group.last_stamp or None,
        "term": group.term,
        "first_index": group.first_index,
        "committed": group.committed,
        "uncommitted_entries": group.uncommitted,
        "uncommitted_commands": group.commands,
        "checkpoint": group.checkpoint,
        "fenced": group.fenced,
        "left_out": group.left_out or None,
    }


def age(stamp_ms: int, now_ms: int) -> str:
    """When an entry was written, in words; both times are Unix milliseconds."""
    if not stamp_ms:
        return "which has no time"
    seconds = (now_ms - stamp_ms) // 1000
    when = datetime.fromtimestamp(stamp_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if seconds < 0:
        return f"of {when}, which is ahead of this machine's clock"
    return f"written {_duration(seconds)} ago ({when})"


def _duration(seconds: int) -> str:
    """The two largest units, such as `3 hours 5 minutes`."""
    units = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))
    parts: list[tuple[int, str]] = []
    for name, size in units:
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append((count, name))
    words = [_count(count, name) for count, name in parts[:2] if count]
    return " ".join(words) or "less than a second"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
