"""The node that is checked: its configuration, its process, and the reports of the cluster."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

from kraft.cli import http_access, status_reply
from kraft.cli.address import http_address
from kraft.config import Config
from kraft.storage.access import user_name
from kraft.storage.lock import holder
from kraft.web.report import Report, decode
from kraft.web.view import ClusterView, MemberReport

ASK_SECONDS = 2.0  # for each reply over HTTP, as in `kraft status`


@dataclass(frozen=True, slots=True)
class Subject:
    """The node that is checked.

    pid: the process that has locked the data directory; 0 if its id is unknown, None if there is none.
    view: the cluster as the node sees it, if it answers over HTTP; otherwise `silence` is the reason.
    mend: the command that lets it answer, if one is known.
    hidden: it does not answer and its directory is not readable, so it is unknown whether it runs.
    """

    file: str
    config: Config
    pid: int | None
    view: ClusterView | None = None
    silence: str = ""
    mend: str = ""
    hidden: bool = False

    @property
    def running(self) -> bool:
        """Whether the node has a process."""
        return self.pid is not None

    @property
    def id(self) -> str:
        """The id of the node."""
        return self.config.node.id

    @property
    def data(self) -> Path:
        """The data directory of the node."""
        return Path(self.config.node.data)

    @property
    def unit(self) -> str:
        """The name of its systemd unit, if it was installed that way."""
        return f"kraft@{self.id}"

    def as_owner(self) -> str:
        """The command that runs the checks again as the owner of the data."""
        return f"sudo -u {user_name(self.data.stat().st_uid)} kraft doctor {self.file}"


def look_at(file: str, config: Config) -> Subject:
    """Find the process of the node, and ask it and the other members for their reports."""
    address = http_address(config)
    access = http_access.of_node(config)
    own = status_reply.ask(config.node.id, address, ASK_SECONDS, access) if address else None
    mend = ""
    if own is not None and own.error == status_reply.REFUSED[401]:
        own, mend = _with_token(own, config, access.token), f"systemctl reload kraft@{config.node.id}"
    silence = "http.listen does not name a port" if own is None else own.error
    if own is not None and own.status is not None and own.name != config.node.id:
        silence = f"node {own.name!r} answers at {address} instead"
    try:
        pid, hidden = holder(config.node.data), False
    except OSError:  # the check of the directory says why
        pid, hidden = (None, True) if silence else (0, False)
    if own is None or silence:
        return Subject(file, config, pid, silence=silence, mend=mend, hidden=hidden)
    others = status_reply.ask_all(status_reply.others([own]), ASK_SECONDS, access)
    answers = [own, *(_with_token(each, config, access.token) for each in others)]
    seen = tuple(sorted((_seen(answer) for answer in answers), key=lambda answer: answer.id))
    return Subject(file, config, pid, ClusterView(_report(own), seen))


def _with_token(answer: status_reply.StatusReply, config: Config, token: str) -> status_reply.StatusReply:
    """The reply; where a node asks for its token, in words about the file of this one."""
    if answer.error != status_reply.REFUSED[401]:
        return answer
    file = config.http.token_file
    if file is None:
        text = "it asks for a token, and http.token_file is not set here; it may wait for a reload"
    elif not token:
        text = f"it asks for the token in {file}, which this user cannot read"
    else:
        text = f"it does not know the first token in {file}, which may have changed since its last reload"
    return replace(answer, error=text)


def _seen(answer: status_reply.StatusReply) -> MemberReport:
    if answer.status is None:
        return MemberReport(answer.name, answer.address, None, answer.error)
    report = _report(answer)
    return MemberReport(answer.name, answer.address, report, last=report)


def _report(answer: status_reply.StatusReply) -> Report:
    return decode(json.dumps(answer.status).encode())


def mine(path: Path) -> bool:
    """Whether this user owns the data directory. Not even root may use it like its node."""
    return path.stat().st_uid == os.geteuid()
