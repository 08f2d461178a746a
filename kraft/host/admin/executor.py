"""Administrators' commands carried out: some here, the others by the leader of group 0, wherever it is.

A command waits for a leader, goes to it once over its link, and is answered from there; see `admin` for the
rules. The leader hands changes of the membership to `membership`, and does the rest itself.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from kraft.host.admin.requests import AdminRequests, PendingCommand, reply
from kraft.host.ports import HostObserver
from kraft.node import admin
from kraft.node.admin import (
    CHECKPOINTING,
    LOCAL,
    Add,
    AdminCommand,
    AdminDone,
    AdminOutcome,
    Compact,
    Demote,
    Drain,
    MembershipChange,
    Promote,
    Readdress,
    Remove,
    Replace,
    Reseed,
    StepDown,
    TakeSnapshot,
    TransferLeadership,
    Verify,
)
from kraft.node.errors import AdminRefused, Busy, DiskFull, NotLeader
from kraft.node.ports import Clock
from kraft.peerwire.messages import Admin, AdminReply, Message
from kraft.raft.errors import NotLeading

if TYPE_CHECKING:
    from kraft.host.group.group import Group
    from kraft.host.host import Host

ADMIN_SECONDS = 30.0  # a command waits so long: a new node has to be dialled
CHECKPOINT_SECONDS = 900.0  # those that wait for a checkpoint: a million keys take most of a minute


class AdminExecutor:
    """All commands of one node, its own and those that other nodes ask of it as the leader."""

    def __init__(self, host: "Host", clock: Clock, observer: HostObserver, first_request: int) -> None:
        self._host = host
        self._clock = clock
        self._observer = observer
        self._requests = AdminRequests(first_request)

    def do(self, command: AdminCommand, done: AdminDone) -> None:
        """See `Host.admin`."""
        self._observer.event("admin_command", command=admin.command_name(command))
        if isinstance(command, LOCAL):
            self._clock.call_later(0, lambda: self._locally(command, done))
            return
        patience = CHECKPOINT_SECONDS if isinstance(command, CHECKPOINTING) else ADMIN_SECONDS
        asked = PendingCommand(command, self._clock.seconds() + patience, done)
        if not self._requests.add(asked):
            self._clock.call_later(0, lambda: done(Busy()))

    def tick(self) -> None:
        """Give up what is late; let the leader, if there is one, have what waits."""
        now = self._clock.seconds()
        self._requests.expire(now)
        group = self._host.groups.get(0)
        if group is None or not group.raft.leader:
            return
        for asked in self._requests.take():
            if group.leads:
                self._lead(group, asked)
            else:
                request = self._requests.request(group.raft.leader, asked, now)
                self._host.post(group.raft.leader, 0, request)

    def answered(self, peer: str, message: AdminReply) -> None:
        """The leader's answer to a command of this node."""
        self._requests.answered(peer, message)

    def unsent(self, messages: Sequence[tuple[int, Message]]) -> None:
        """The link took none of these."""
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

    def asked(self, group: "Group", peer: str, message: Admin) -> None:
        """Another node asks this one as the leader of `group`."""

        def answer(outcome: AdminOutcome) -> None:
            self._host.post(peer, group.id, reply(message.request, outcome))

        if not group.leads:
            answer(NotLeader(group.id, ""))
            return
        try:
            command = admin.decode(message.command)
        except msgspec.DecodeError:
            answer(AdminRefused(f"{group.raft.id} leads and does not know this command: update it first"))
            return
        self._observer.event("admin_command", command=admin.command_name(command), peer=peer)
        self._do(group, command, answer)

    def _lead(self, group: "Group", asked: PendingCommand) -> None:
        self._requests.here(asked)
        self._do(group, asked.command, lambda outcome: self._requests.ended(asked, outcome))

    def _do(self, group: "Group", command: AdminCommand, done: AdminDone) -> None:
        try:
            self._DO[type(command)](self, group, command, done)
        except NotLeading:
            done(NotLeader(0, ""))

    def _change(self, group: "Group", command: MembershipChange, done: AdminDone) -> None:
        group.membership.do(command, done)

    def _transfer(self, group: "Group", command: TransferLeadership, done: AdminDone) -> None:
        if command.to == group.raft.id:
            done(command.to)
        else:
            self._host.transfers.begin(group, command.to, done)

    def _step_down(self, group: "Group", _: StepDown, done: AdminDone) -> None:
        self._host.transfers.begin(group, "", done)

    def _snapshot(self, group: "Group", _: TakeSnapshot, done: AdminDone) -> None:
        if not group.take_checkpoint(done):
            done(NotLeader(0, ""))

    def _verify(self, group: "Group", _: Verify, done: AdminDone) -> None:
        def taken(outcome: int | DiskFull) -> None:
            if isinstance(outcome, DiskFull):
                done(outcome)
            else:
                group.comparing.verify(outcome, done)

        if not group.take_checkpoint(taken):
            done(NotLeader(0, ""))

    def _reseed(self, group: "Group", command: Reseed, done: AdminDone) -> None:
        node = group.raft
        if command.id == node.id:
            text = f"{node.id} leads and cannot be the source of its own copy: KRAFT STEPDOWN first"
            done(AdminRefused(text))
        elif node.configuration.member(command.id) is None:
            known = ", ".join(m.id for m in node.configuration.everyone)
            done(AdminRefused(f"{command.id} is not a member; members are {known}"))
        elif index := group.comparing.equal(command.id):
            text = f"{command.id} has the same data as the others at index {index}: nothing to replace"
            done(AdminRefused(text))
        elif not group.take_checkpoint(lambda outcome: self._send_copy(group, command.id, outcome, done)):
            done(NotLeader(0, ""))

    def _send_copy(self, group: "Group", id_: str, outcome: int | DiskFull, done: AdminDone) -> None:
        """The receiver has cut its log up to its own last checkpoint at most, so the copy must be new."""
        if isinstance(outcome, DiskFull):
            done(outcome)
        else:
            group.reseed(id_)
            done("OK")

    _DO: ClassVar[dict[type, Callable[["AdminExecutor", "Group", Any, AdminDone], None]]] = {
        **dict.fromkeys((Add, Remove, Promote, Demote, Readdress, Replace), _change),
        TransferLeadership: _transfer,
        StepDown: _step_down,
        TakeSnapshot: _snapshot,
        Verify: _verify,
        Reseed: _reseed,
    }

    # -- on this node ---------------------------------------------------------------------------------

    def _locally(self, command: AdminCommand, done: AdminDone) -> None:
        groups = list(self._host.groups.values())
        if isinstance(command, Compact):
            done(sum(group.compact(command.keep) for group in groups))
        elif isinstance(command, Drain):
            for group in groups:
                group.drain(command.on)
            if command.on:
                self._host.transfers.transfer_all(groups, lambda: done(self._drained(groups)))
            else:
                done("OK")

    def _drained(self, groups: Sequence["Group"]) -> AdminOutcome:
        left = [str(group.id) for group in groups if group.leads]
        if not left:
            return "OK"
        return AdminRefused(f"still leads group {', '.join(left)}: no other voter could take over")
