"""The state of a cluster, as its nodes report it on their HTTP ports: asked once, or again and again."""

import http.client
import json
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from kraft.cli.connection import TLS_ONLY, reason
from kraft.cli.http_access import PLAIN, VARIABLE, HttpAccess
from kraft.cli.known_port import recognise
from kraft.listen_address import split_address
from kraft.node.status import REMOVED
from kraft.web.report import NotAReport, decode
from kraft.web.view import ClusterView, MemberReport

ANSWER_MAX_BYTES = 16 << 20  # far above any real answer; a mistyped address may be any server
CONCURRENT_MAX = 16
NOT_HTTP = "it does not speak HTTP"
REFUSED = {
    401: f"it asks for the token of its http.token_file: --token-file FILE, or {VARIABLE}",
    403: "it asks for a client certificate: --cert FILE --key FILE",
}
NO_SUCH_NODE = "no configuration here (kraft.yaml, /etc/kraft, kraft-demo) has a node of that id either"


@dataclass(frozen=True, slots=True)
class StatusReply:
    """The reply of one node: either `status` (the JSON of /status) or `error`.

    `name` is the id of the node, '' if unknown; `address` is '' for a member whose address is unknown.
    `note` says that the address which was asked is another port of the node, and which one.
    """

    name: str
    address: str
    status: dict[str, Any] | None = None
    error: str = ""
    note: str = ""

    @property
    def healthy(self) -> bool:
        """Whether it replied, serves, has space and the right data, and knows a leader for every group."""
        status = self.status
        return (
            status is not None
            and not status["problem"]
            and not status["disk_full"]
            and bool(status["groups"])
            and all(group["leader"] for group in status["groups"])
            and not self.fenced
        )

    @property
    def members(self) -> list[dict[str, Any]]:
        """The members that it names. Of a node that was removed, which has links to none, those it can tell
        the address of.
        """
        status = self.status or {"members": []}
        former = status.get("state") == REMOVED
        return [member for member in status["members"] if member["http"] or not former]

    @property
    def fenced(self) -> bool:
        """Whether its data of some group is known to be wrong."""
        return any(group.get("fenced") for group in (self.status or {}).get("groups", ()))


def ask_all(
    targets: Sequence[tuple[str, str]], timeout: float, access: HttpAccess = PLAIN
) -> list[StatusReply]:
    """The replies of (name, address) pairs, asked at the same time, in the given order."""
    with ThreadPoolExecutor(CONCURRENT_MAX) as pool:
        return list(pool.map(lambda target: ask(target[0], target[1], timeout, access), targets))


def ask(name: str, address: str, timeout: float, access: HttpAccess = PLAIN) -> StatusReply:
    """GET /status of one node. Errors of the network or the other side become the error of the reply."""
    if not address:
        return StatusReply(name, address, error="no address known")
    try:
        connection = access.connection(*split_address(address), timeout)
    except ValueError as error:
        return StatusReply(name, address, error=str(error))
    try:
        connection.request("GET", "/status", headers=access.headers)
        response = connection.getresponse()
        body = response.read(ANSWER_MAX_BYTES)
        if response.status != http.HTTPStatus.OK:
            if TLS_ONLY.encode() in body:
                return StatusReply(name, address, error="it takes TLS only: write https://, or --tls")
            told = REFUSED.get(response.status, f"HTTP {response.status} {response.reason}")
            return StatusReply(name, address, error=told)
        return _understood(name, address, body)
    except (http.client.BadStatusLine, ConnectionResetError):
        return StatusReply(name, address, error=NOT_HTTP)
    except socket.gaierror as error:
        return StatusReply(name, address, error=f"{error.strerror}; {NO_SUCH_NODE}")
    except (OSError, http.client.HTTPException) as error:
        text = reason(error) if isinstance(error, OSError) else str(error)
        return StatusReply(name, address, error=text or "no answer")
    finally:
        connection.close()


def http_ports(address: str, timeout: float, access: HttpAccess = PLAIN) -> Mapping[str, str]:
    """The HTTP addresses by id that the node at `address` reports; none if it does not answer."""
    members = (ask("", address, timeout, access).status or {}).get("members", ())
    return {member["id"]: member["http"] for member in members}


def _recognised(answer: StatusReply, timeout: float, access: HttpAccess) -> StatusReply:
    """The reply of the HTTP port of the same node, if `answer` is that of another port of a node."""
    if answer.error != NOT_HTTP:
        return answer
    port = recognise(split_address(answer.address), timeout, access.security)
    if isinstance(port, str):
        return replace(answer, error=port)
    text = port.explain(answer.address)
    if not port.http:
        return replace(answer, name=port.id, error=text)
    return replace(ask(port.id, port.http, timeout, access), note=text)


def _understood(name: str, address: str, body: bytes) -> StatusReply:
    """The reply, if `body` is the status of a kraft node."""
    try:
        return StatusReply(decode(body).status.node, address, json.loads(body))
    except NotAReport:
        return StatusReply(name, address, error="not a kraft node's answer")


def others(answers: Iterable[StatusReply]) -> list[tuple[str, str]]:
    """(id, HTTP address) of the members that the replies name and that were not asked themselves."""
    asked = {answer.name for answer in answers} | {answer.address for answer in answers}
    found: dict[str, str] = {}
    for answer in answers:
        for member in answer.members:
            if member["id"] not in asked and (not member["http"] or member["http"] not in asked):
                found[member["id"]] = found.get(member["id"]) or member["http"]
    return sorted(found.items())


def view_of(answers: Sequence[StatusReply]) -> ClusterView | None:
    """The cluster as these nodes report it; None if none of them does."""
    seen = [_member_report(each) for each in answers if each.name or each.status is not None]
    own = next((each.report for each in seen if each.report is not None), None)
    return None if own is None else ClusterView(own, tuple(seen))


def _member_report(reply: StatusReply) -> MemberReport:
    if reply.status is None:
        return MemberReport(reply.name, reply.address, None, reply.error)
    report = decode(json.dumps(reply.status).encode())
    return MemberReport(reply.name, reply.address, report, last=report)


class StatusPoll:
    """Asks the nodes at `addresses`, and unless `only` these, the members that they name.

    It remembers the members, so that a later round finds them without the nodes that were given. If none of
    these answers from the beginning, the nodes of `known` take their place: HTTP addresses by id. A node of
    `known` that does not answer is left out if those that do answer have no such member: it was removed for
    good, or never added.
    """

    def __init__(
        self,
        addresses: Iterable[str],
        timeout: float,
        *,
        only: bool = False,
        access: HttpAccess = PLAIN,
        known: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`timeout`, in seconds, is for each node."""
        self._access = access
        self._known = known
        self._addresses = tuple(dict.fromkeys(addresses))
        self._timeout = timeout
        self._only = only
        self._names: dict[str, str] = {}  # ids of the nodes at addresses
        self._members: dict[str, str] = {}  # HTTP addresses by id

    def ask(self) -> list[StatusReply]:
        """One round: the replies of the given nodes in their order, then those of the others by id."""
        answers = self._round()
        if not self._members and (known := self._known()):
            self._names = {address: id_ for id_, address in known.items()}
            self._addresses, self._known = tuple(self._names), dict
            answers = self._round()
            if self._members:
                answers = [each for each in answers if each.status is not None or each.name in self._members]
                self._addresses = tuple(each.address for each in answers if each.address in self._names)
        return answers

    def _round(self) -> list[StatusReply]:
        targets = [(self._names.get(address, ""), address) for address in self._addresses]
        answers = [
            _recognised(each, self._timeout, self._access)
            for each in ask_all(targets, self._timeout, self._access)
        ]
        if not self._only:
            found = others(answers)
            if all(each.status is None for each in answers):
                asked = {each.name for each in answers} | {each.address for each in answers}
                found = [item for item in sorted(self._members.items()) if asked.isdisjoint(item)]
            answers += ask_all(found, self._timeout, self._access)
        self._learn(answers)
        return answers

    def _learn(self, answers: Iterable[StatusReply]) -> None:
        replies = [each for each in answers if each.status is not None]
        self._names |= {each.address: each.name for each in replies}
        if replies:
            self._members = {member["id"]: member["http"] for each in replies for member in each.members}
