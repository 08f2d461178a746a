"""The node that is looked at: its configuration, its process, and what it and the others say."""

import json
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from kraft.cli import status
from kraft.config import Config
from kraft.config.kinds import is_wildcard, join_address, split_endpoint
from kraft.storage.lock import holder
from kraft.web.report import Report, decode
from kraft.web.view import ClusterView, MemberReport

ASK_SECONDS = 2.0  # for each answer over HTTP, as `kraft status`


@dataclass(frozen=True, slots=True)
class Subject:
    """`pid` is the process that works with the data directory: 0 when its id is not known, None when there is
    none. `view` is there when the node answers over HTTP; `silence` says why it does not. `hidden`: neither
    did it answer nor may we see its directory, so it may run all the same.
    """

    file: str
    config: Config
    pid: int | None
    view: ClusterView | None = None
    silence: str = ""
    hidden: bool = False

    @property
    def running(self) -> bool:
        """Whether the node has a process."""
        return self.pid is not None

    @property
    def id(self) -> str:
        """Its name."""
        return self.config.node.id

    @property
    def data(self) -> Path:
        """Its data directory."""
        return Path(self.config.node.data)

    @property
    def unit(self) -> str:
        """What systemd calls it, if it was installed that way."""
        return f"kraft@{self.id}"

    def as_owner(self) -> str:
        """The command to look again as who owns the data."""
        return f"sudo -u {user_name(self.data.stat().st_uid)} kraft doctor {self.file}"


def look_at(file: str, config: Config) -> Subject:
    """Find its process, and ask it and the others."""
    address = _http_address(config)
    own = status.ask(config.node.id, address, ASK_SECONDS) if address else None
    silence = "http.listen has no port that is known here" if own is None else own.error
    if own is not None and own.status is not None and own.name != config.node.id:
        silence = f"node {own.name!r} answers at {address} instead"
    try:
        pid, hidden = holder(config.node.data), False
    except OSError:  # the check of the directory says why
        pid, hidden = (None, True) if silence else (0, False)
    if own is None or silence:
        return Subject(file, config, pid, silence=silence, hidden=hidden)
    answers = [own, *status.ask_all(status.others([own]), ASK_SECONDS)]
    seen = tuple(sorted((_seen(answer) for answer in answers), key=lambda answer: answer.id))
    return Subject(file, config, pid, ClusterView(_report(own), seen))


def _http_address(config: Config) -> str:
    if not config.http.listen:
        return ""
    listener = split_endpoint(config.http.listen)
    if not listener.port:
        return ""
    everywhere = "::1" if listener.kind == "tcp6" else "127.0.0.1"
    return join_address(everywhere if is_wildcard(listener.interface) else listener.interface, listener.port)


def _seen(answer: status.StatusReply) -> MemberReport:
    if answer.status is None:
        return MemberReport(answer.name, answer.address, None, answer.error)
    report = _report(answer)
    return MemberReport(answer.name, answer.address, report, last=report)


def _report(answer: status.StatusReply) -> Report:
    return decode(json.dumps(answer.status).encode())


def user_name(uid: int) -> str:
    """As in the list of users; one that is not there by number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def mine(path: Path) -> bool:
    """Whether this process may work with a data directory as its node would; not even root may."""
    return path.stat().st_uid == os.geteuid()
