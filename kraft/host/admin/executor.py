"""Carries out administrators' commands: some on this node, the others at the leader of every group.

A command waits until a leader is known, goes to it once over its link, and is answered from there: see
`requests` for the rules, and `cluster_command` for several groups. The leader hands changes of the members to
`membership`, and does the rest itself.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import count
from typing import Any, ClassVar, get_args

import msgspec

from kraft.host.absent.directory import GroupDirectory
from kraft.host.admin.cluster_change import ClusterChange
from kraft.host.admin.cluster_command import ClusterCommand
from kraft.host.admin.group_creation import GroupCreation
from kraft.host.admin.held_markers import NOT_HELD, HeldMarkers
from kraft.host.admin.image_commands import ImageCommand, ImageCommands
from kraft.host.admin.requests import AdminRequests, Leads, PendingCommand, reply
from kraft.host.admin.transfers import LeadershipTransfers
from kraft.host.context import GroupContext
from kraft.host.group.group import Group
from kraft.host.moves.planner import MovePlanner
from kraft.host.placement.placement_commands import PlacementCommands
from kraft.host.requests.round import ReadDone
from kraft.host.turns import Turns
from kraft.node import admin
from kraft.node.admin import (
    CHECKPOINTING,
    LOCAL,
    SILENT,
    AdminCommand,
    AdminDone,
    AdminOutcome,
    CheckpointLoan,
    Compact,
    CreateGroups,
    Drain,
    FindLogs,
    GroupChange,
    HoldProposals,
    LogHeldMarker,
    LogLoan,
    MembershipChange,
    PlacementChange,
    Rehearse,
    Remove,
    Reseed,
    SlotChange,
    StepDown,
    TakeSnapshot,
    TransferLeadership,
    Verify,
)
from kraft.node.errors import AdminRefused, Busy, NotLeader
from kraft.peerwire.messages import Admin, AdminReply, Message
from kraft.raft.errors import NotLeading

ADMIN_SECONDS = 30.0  # the longest wait for a command: a new node has to be dialled
REHEARSAL_SECONDS = 10.0  # of a removal, for which no node has to be dialled: for a leader to be elected
HOLD_SECONDS = 5.0  # for a hold and its marker
FIND_SECONDS = 2.0  # for a question that is soon asked again
CHECKPOINT_SECONDS = 900.0  # for those that wait for a checkpoint: a million keys take most of a minute
EARLIER = "{} leads and does not know this command: update it first"
OWN = "the node that is asked carries this command out, and no other one"

LocalCommand = Drain | Compact | ImageCommand


class AdminExecutor:
    """All commands of one node: its own, and those that other nodes ask of it as the leader.

    `groups` are the replicas on this node, by group id; the `directory` tells who leads the other groups.
    `wake` wakes groups that hibernate, before anything is done in them. `read` is as `Host.read`.
    """

    def __init__(
        self,
        groups: dict[int, Group],
        directory: GroupDirectory,
        context: GroupContext,
        transfers: LeadershipTransfers,
        images: ImageCommands,
        plans: tuple[MovePlanner, PlacementCommands],
        wake: Callable[[Collection[int]], None],
        read: Callable[[int, ReadDone], None],
        first_request: int,
    ) -> None:
        self._groups = groups
        self._directory = directory
        self._slots = context.slots
        self._transfers = transfers
        self._turns = context.turns
        self._clock = context.clock
        self._observer = context.observer
        self._images = images
        self._planner, self._placement = plans
        self._wake = wake
        self._creation = GroupCreation(self._placement.view, context.slots, context.clock, read)
        self._requests = AdminRequests(first_request)
        self._new_token = partial(next, count(first_request))  # of holds

    def do(self, command: AdminCommand, done: AdminDone) -> None:
        """Carry out `command`, here or at the leader. `done` gets the outcome, never inside this call."""
        if not isinstance(command, SILENT):
            self._observer.event("admin_command", command=admin.command_name(command))
        if isinstance(command, LOCAL):
            self._clock.call_soon(partial(self._do_locally, command, done))
            return
        if isinstance(command, SlotChange):
            self._clock.call_soon(partial(self._planner.do, command, self.do, done))
            return
        if isinstance(command, PlacementChange):
            self._clock.call_soon(partial(self._placement.do, command, done))
            return
        until = self._clock.seconds() + _seconds(command)
        ask = partial(self._ask, until)
        groups, one = self._slots.groups, _only(command)
        if one >= groups:
            refusal = AdminRefused(f"there is no group {one}: the groups are 0 to {groups - 1}")
            self._clock.call_soon(partial(done, refusal))
        elif isinstance(command, MembershipChange):
            proceed = partial(self._change_all, groups, until)
            self._clock.call_soon(partial(self._placement.admit, command, until, proceed, done))
        elif groups == 1 or one >= 0:
            ask(max(0, one), command, done)
        else:
            ClusterCommand(groups, ask, done).ask_all(command)

    def _change_all(
        self,
        groups: int,
        until: float,
        command: MembershipChange,
        done: AdminDone,
        *,
        first_only: bool = False,
        everywhere: bool = False,
    ) -> None:
        """Change the members of so many groups, or of group 0 alone, before `until` (monotonic seconds)."""
        if first_only:
            self._ask(until, 0, command, done)
            return
        ask, count_ = partial(self._ask, until), partial(self._creation.count, until)
        own = next((group.raft.state.id for group in self._groups.values()), "")
        ClusterChange(command, ask, count_, own, self._slots, done, everywhere=everywhere).begin(groups)

    def mark(self, done: AdminDone) -> None:
        """Let every replica take a checkpoint, those of several groups at one moment.

        `done` gets the index of the marker, or a list with [index, term] of that of each group.
        """
        if self._slots.groups == 1:
            self.do(TakeSnapshot(), done)
        else:
            HeldMarkers(self._slots.groups, self.ask_at_once, self._new_token, self._clock, done).log()

    def ask_at_once(self, group: int, command: AdminCommand, done: AdminDone) -> None:
        """As `ask`, and not only at the next tick: writers may wait meanwhile."""
        self._ask(self._clock.seconds() + _seconds(command), group, command, done)
        self._clock.call_soon(self._give)

    def ask(self, group: int, command: AdminCommand, done: AdminDone) -> None:
        """Let the leader of `group` carry out `command`, which only nodes send."""
        self._ask(self._clock.seconds() + ADMIN_SECONDS, group, command, done)

    def _ask(self, deadline: float, group: int, command: AdminCommand, done: AdminDone) -> None:
        """Let the leader of `group` carry out `command` before `deadline` (monotonic seconds)."""
        if isinstance(command, Rehearse) and isinstance(command.command, Remove):
            deadline = min(deadline, self._clock.seconds() + REHEARSAL_SECONDS)
        if not self._requests.add(PendingCommand(deadline, done, command, group)):
            self._clock.call_soon(partial(done, Busy()))

    @property
    def active(self) -> bool:
        """Whether a caller on this node waits for the leader of a group: not one that soon asks again."""
        return self._requests.waits_for_more_than(FindLogs)

    def tick(self) -> None:
        """Give up commands that are late, or whose leader is lost, and give those that wait to the leader."""
        now = self._clock.seconds()
        self._requests.expire(now)
        self._requests.follow(self._leads, now)
        self._give()

    def _leads(self, id_: int) -> Leads:
        """The leader of a group as known here, and the term."""
        group = self._groups.get(id_)
        if group is not None:
            return group.raft.state.leader, group.raft.state.term
        place = self._directory.places.get(id_)
        return ("", 0) if place is None else (place.leader, place.term)

    def _give(self) -> None:
        now = self._clock.seconds()
        for pending in self._requests.take():
            self._wake((pending.group,))
            leads = self._leads(pending.group)
            if not leads[0]:
                self._requests.wait(pending)
                continue
            group = self._groups.get(pending.group)
            if group is not None and group.raft.state.leads:
                self._requests.here(leads, pending)
                self._do(group, pending.command, partial(self._requests.ended, pending))
            else:
                self._turns.post(leads[0], pending.group, self._requests.request(leads, pending, now))

    def asked(self, id_: int, peer: str, message: Admin) -> bool:
        """Another node asks this one as the leader of the group `id_`. Returns whether work may begin.

        A question that is asked every second wakes no group: a hibernating leader has just heard all nodes.
        """
        command = _decoded(message)
        begins = not isinstance(command, FindLogs)
        if begins:
            self._wake((id_,))
        group = self._groups.get(id_)
        answer = partial(_answer, self._turns, id_, peer, message.request)
        if group is None or not group.raft.state.leads:
            answer(NotLeader(id_, ""))
        elif command is None:
            answer(AdminRefused(EARLIER.format(group.raft.state.id)))
        elif type(command) not in self._DO:
            answer(AdminRefused(OWN))
        else:
            if not isinstance(command, (Rehearse, *SILENT)):
                self._observer.event("admin_command", command=admin.command_name(command), peer=peer)
            self._do(group, command, answer)
        return begins

    def answered(self, peer: str, message: AdminReply) -> None:
        """The leader's answer to a command of this node arrived."""
        self._requests.answered(peer, message)

    def unsent(self, messages: Sequence[tuple[int, Message]]) -> None:
        """The link took none of these (group, message) pairs."""
        for _, message in messages:
            if isinstance(message, Admin):
                self._requests.unsent(message.request)

    def link_down(self, peer: str) -> None:
        """The link to `peer` is gone."""
        self._requests.lost(peer)

    def abandon(self) -> None:
        """The node stops."""
        self._requests.abandon()

    # -- as the leader --------------------------------------------------------------------------------

    def _do(self, group: Group, command: AdminCommand, done: AdminDone) -> None:
        try:
            self._DO[type(command)](self, group, command, done)
        except NotLeading:
            done(NotLeader(0, ""))

    def _change_members(self, group: Group, command: GroupChange, done: AdminDone) -> None:
        group.membership.do(command, done)

    def _rehearse(self, group: Group, command: Rehearse, done: AdminDone) -> None:
        group.membership.rehearse(command.command, done, everywhere=command.everywhere)

    def _transfer(self, group: Group, command: TransferLeadership, done: AdminDone) -> None:
        if command.to == group.raft.state.id:
            done(command.to)
        else:
            self._transfers.begin(group, command.to, done)

    def _transfer_to_best(self, group: Group, _: StepDown, done: AdminDone) -> None:
        self._transfers.begin(group, "", done)

    def _take_checkpoint(self, group: Group, _: TakeSnapshot, done: AdminDone) -> None:
        if not group.take_checkpoint(done):
            done(NotLeader(0, ""))

    def _hold(self, group: Group, command: HoldProposals, done: AdminDone) -> None:
        until = self._clock.seconds() + command.milliseconds / 1000
        held = group.requests.proposer.hold(command.token, until)
        done("OK" if held else NotLeader(0, ""))

    def _mark_held(self, group: Group, command: LogHeldMarker, done: AdminDone) -> None:
        marker = group.requests.proposer.propose_held_marker(command.token)
        self._turns.wake(group.id)
        if marker is not None:
            self._images.marked(group.id)
        done(AdminRefused(NOT_HELD) if marker is None else list(marker))

    def _lend(self, group: Group, command: CheckpointLoan | LogLoan, done: AdminDone) -> None:
        self._images.lend(group.id, command, done)

    def _create_groups(self, group: Group, command: CreateGroups, done: AdminDone) -> None:
        self._creation.do(group, command, done)

    def _verify(self, group: Group, _: Verify, done: AdminDone) -> None:
        if not group.take_checkpoint(partial(self._verify_checkpoint, group, done)):
            done(NotLeader(0, ""))

    def _verify_checkpoint(self, group: Group, done: AdminDone, outcome: AdminOutcome) -> None:
        if not isinstance(outcome, int):
            done(outcome)
        else:
            group.consistency.verify(outcome, done)

    def _reseed(self, group: Group, command: Reseed, done: AdminDone) -> None:
        raft = group.raft
        if command.id == raft.state.id:
            text = f"{raft.state.id} leads and cannot be the source of its own copy: KRAFT STEPDOWN first"
            done(AdminRefused(text))
        elif raft.state.configuration.member(command.id) is None:
            known = ", ".join(member.id for member in raft.state.configuration.everyone)
            done(AdminRefused(f"{command.id} is not a member; the members are {known}"))
        elif index := group.consistency.equal(command.id):
            text = f"{command.id} has the same data as the others at index {index}: nothing to replace"
            done(AdminRefused(text))
        elif not group.take_checkpoint(partial(self._send_copy, group, command.id, done)):
            done(NotLeader(0, ""))

    def _send_copy(self, group: Group, id_: str, done: AdminDone, outcome: AdminOutcome) -> None:
        """Send the new checkpoint: the receiver has cut its log at most up to its own last checkpoint."""
        if not isinstance(outcome, int):
            done(outcome)
        else:
            group.reseed(id_)
            done("OK")

    _DO: ClassVar[dict[type, Callable[["AdminExecutor", Group, Any, AdminDone], None]]] = {
        **dict.fromkeys(get_args(GroupChange), _change_members),
        Rehearse: _rehearse,
        TransferLeadership: _transfer,
        StepDown: _transfer_to_best,
        TakeSnapshot: _take_checkpoint,
        Verify: _verify,
        Reseed: _reseed,
        HoldProposals: _hold,
        LogHeldMarker: _mark_held,
        **dict.fromkeys(get_args(CheckpointLoan | LogLoan), _lend),
        CreateGroups: _create_groups,
    }

    # -- on this node ---------------------------------------------------------------------------------

    def _do_locally(self, command: LocalCommand, done: AdminDone) -> None:
        groups = list(self._groups.values())
        if not isinstance(command, Drain | Compact):
            self._images.do(command, self.mark, done)
            return
        self._wake(self._groups)
        if isinstance(command, Compact):
            done(sum(group.log_cut.cut_to(command.keep) for group in groups))
            return
        alone = [group for group in groups if group.raft.state.electors == (group.raft.state.id,)]
        if command.on and alone:
            done(AdminRefused(f"{alone[0].raft.state.id} is the only voter: no other node could lead"))
            return
        for group in groups:
            group.drain(command.on)
        if command.on:
            self._transfers.transfer_all(groups, partial(self._drained, groups, done))
        else:
            done("OK")

    def _drained(self, groups: Sequence[Group], done: AdminDone) -> None:
        led = [group for group in groups if group.raft.state.leads]
        if led:
            ids = ", ".join(str(group.id) for group in led)
            done(AdminRefused(f"still leads group {ids}: {self._transfers.obstacle(led[0])}"))
        else:
            done("OK")


def _answer(turns: Turns, group: int, peer: str, request: int, outcome: AdminOutcome) -> None:
    turns.post(peer, group, reply(request, outcome))


def _decoded(message: Admin) -> AdminCommand | None:
    """The command of another node, None if it is of a version that this one does not know."""
    try:
        return admin.decode(message.command)
    except msgspec.DecodeError:
        return None


def _seconds(command: AdminCommand) -> float:
    """How long a command may take."""
    if isinstance(command, HoldProposals | LogHeldMarker):
        return HOLD_SECONDS
    if isinstance(command, FindLogs):
        return FIND_SECONDS
    return CHECKPOINT_SECONDS if isinstance(command, CHECKPOINTING) else ADMIN_SECONDS


def _only(command: AdminCommand) -> int:
    """The one group that a command is for, -1 if that is not said."""
    if isinstance(command, CreateGroups):
        return 0
    return command.group if isinstance(command, TransferLeadership) else -1
