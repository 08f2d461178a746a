"""Gives KRAFT commands to a cluster, for the subcommands that show or change it.

The client port of any node takes them, and the leader decides: its refusals are printed as they are.
"""

import argparse

from kraft.cli import servers
from kraft.cli.cluster_client import ClusterClient, NoServer, OutcomeUnknown, pairs, text
from kraft.cli.failure import Failure
from kraft.cli.typed_commands import typed
from kraft.resp.values import Error, Reply

UNKNOWN = "`kraft members` shows the outcome, and the command may be repeated"

Row = dict[str, object]


class Administrator:
    """A client for KRAFT commands. `leader` is that of group 0, as far as the last `members` told.

    `unknown` says what to do when the outcome of a command is not known.
    """

    def __init__(
        self, chosen: argparse.Namespace, client: ClusterClient | None = None, *, unknown: str = UNKNOWN
    ) -> None:
        self._client = client or ClusterClient(servers.chosen(chosen), connect=servers.connector(chosen))
        self._unknown = unknown
        self.leader = ""

    def __enter__(self) -> "Administrator":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def order(self, *words: str) -> Reply:
        """The reply to one KRAFT command. Raises Failure for a refusal, and OutcomeUnknown."""
        try:
            reply = self._client.call(
                [b"KRAFT", *(word.encode("utf-8", "surrogateescape") for word in words)]
            )
        except OutcomeUnknown as failure:
            raise OutcomeUnknown(f"{failure}. {self._unknown}") from None
        if isinstance(reply, Error):
            if reply.text.startswith("UNCERTAIN"):
                raise OutcomeUnknown(f"{reply.text}. {self._unknown}")
            raise Failure(typed(reply.text.removeprefix("ERR ")))
        return reply

    def members(self) -> list[Row]:
        """The members as the leader knows them, or as the node that answers does; notes the leader."""
        self._client.close()  # the command may have moved the leadership
        found = self.listing("MEMBERS")
        self.leader = self._client.leader
        return found

    def leaders(self) -> list[str]:
        """The leader of each group, '' where none is known."""
        return [str(group.get("leader") or "") for group in self.listing("GROUPS")]

    def listing(self, *words: str) -> list[Row]:
        """The rows of the reply to a KRAFT command that lists something."""
        reply = self.order(*words)
        if not isinstance(reply, list):
            raise NoServer("what answers is not a kraft node")
        return [fields(each) for each in reply]


def fields(reply: Reply) -> Row:
    """A map of the protocol, with its strings as text."""
    return {name: plain(value) for name, value in pairs(reply).items()}


def plain(reply: Reply) -> object:
    """A reply with its strings as text."""
    if isinstance(reply, list):
        return [plain(each) for each in reply]
    return text(reply) if isinstance(reply, bytes) else reply
