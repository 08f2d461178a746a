"""The users of the cluster as this node knows them, and the rights of its sessions.

Users are part of the state of group 0. The host tells of every change as soon as this node has applied it,
and all sessions have their new rights before the next command. No request costs a look at the state.

As long as no user was ever stored, those of `users.file` are in force, and this node tries to store them; so
a cluster that is to have users is never open, not even in its first second.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kraft.acl.catalog import Catalog
from kraft.acl.user import DEFAULT, DEFAULT_NAME, User, decode_user, encode_user
from kraft.config.values import UsersConfig
from kraft.kv.commands import ChangeUsers
from kraft.kv.ledger import Ledger
from kraft.kv.users import users_of, users_revision
from kraft.node.ports import Clock
from kraft.resp.values import Request
from kraft.server.access_log import CERTIFICATE, COMMAND, KEY, LUA, MULTI, TOPLEVEL, AccessLog, AccessLogEntry
from kraft.server.errors import ABORTED_BECAUSE, NO_AUTH, OLD_USERS, Rejected, printable
from kraft.server.listed_session import ListedSession, client_line
from kraft.server.ports import NodeHost, ServerObserver
from kraft.server.rights import FREE, Controlled, Denial, Reason, Rights
from kraft.server.session_state import SessionState

CHECK_SECONDS = 1.0  # between two looks at the age of what this node knows
COMPILED_MAX = 1000  # users of scripts that are remembered

_REASONS = {Reason.COMMAND: COMMAND, Reason.KEY: KEY}


class UserSession(ListedSession, Protocol):
    """A session whose rights change."""

    def abort(self, reason: str) -> None:
        """Close at once and count `reason` as the cause."""

    def rights_changed(self) -> None:
        """End what is under way that the rights in `state` do not allow."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user, and its rights for sessions: None if nothing is refused to it."""

    user: User
    rights: Rights | None


class Users:
    """All users. `revision` is that of their last change, 0 before the first one.

    `sessions` are those of the client port by their id. `log` is what ACL LOG shows.
    """

    def __init__(
        self,
        config: UsersConfig,
        catalog: Catalog,
        host: NodeHost,
        observer: ServerObserver,
        clock: Clock,
        sessions: Mapping[int, UserSession],
    ) -> None:
        self.catalog = catalog
        self.log = AccessLog()
        self.revision = 0
        self.changing: set[int] = set()  # ids of sessions that change users just now
        self._config = config
        self._host = host
        self._observer = observer
        self._clock = clock
        self._sessions = sessions
        self._founders: Mapping[bytes, User] = {}
        self._guest = Rights(User(DEFAULT_NAME), catalog, NO_AUTH)
        self._outdated = Rights(User(DEFAULT_NAME), catalog, OLD_USERS)
        self._compiled: dict[bytes, Rights] = {}
        self._old = False
        self._checks = False
        self._began = clock.seconds()
        self._accounts: dict[bytes, Account] = {}
        self._take({})

    @property
    def defined(self) -> bool:
        """Whether somebody has defined users, so that not everybody may do everything."""
        return bool(self.revision or self._founders)

    @property
    def count(self) -> int:
        """The number of users, `default` among them."""
        return len(self._accounts)

    @property
    def default_open(self) -> bool:
        """Whether whoever connects may be the user `default` without a password."""
        default = self._accounts[DEFAULT_NAME].user
        return default.on and default.nopass

    @property
    def old(self) -> bool:
        """Whether this node has known no leader for so long that its users may be others by now."""
        return self._old

    def get(self, name: bytes) -> Account | None:
        """The user of that name."""
        return self._accounts.get(name)

    def all(self) -> list[User]:
        """All users by name."""
        return [account.user for _, account in sorted(self._accounts.items())]

    # -- changes --------------------------------------------------------------------------------------

    def found(self, users: Mapping[bytes, User]) -> None:
        """Let `users` be in force, and try to store them, as long as none were ever stored."""
        self._founders = users
        if not self.revision:
            self._take(users)
            self._store_founders()

    def changed(self, ledger: Ledger) -> None:
        """The host has applied a change, or has another state."""
        self.revision = users_revision(ledger)
        stored = {name: decode_user(data) for name, data in users_of(ledger).items()}
        self._take(stored if self.revision else self._founders)

    def _take(self, users: Mapping[bytes, User]) -> None:
        before, self._accounts = self._accounts, {}
        renewed: set[bytes] = set()  # removed and made anew at once, in a snapshot: not the same users
        for name, user in ({DEFAULT_NAME: DEFAULT} | dict(users)).items():
            known = before.get(name)
            if known is not None and known.user == user:
                self._accounts[name] = known
            else:
                rights = None if user.unrestricted else Rights(user, self.catalog)
                self._accounts[name] = Account(user, rights)
                if known is not None and user.created > known.user.created:
                    renewed.add(name)
        for session in list(self._sessions.values()):
            self._reassign(session, renewed)
        if self.defined and not self._checks:
            self._checks = True
            self._clock.call_later(CHECK_SECONDS, self._check)

    def _check(self) -> None:
        """Notice when what this node knows becomes too old, and when it is not any more."""
        self._clock.call_later(CHECK_SECONDS, self._check)
        age = min(self._host.users.age, self._clock.seconds() - self._began)
        old = age > self._config.max_staleness
        if old is not self._old:
            self._old = old
            for session in list(self._sessions.values()):
                self._reassign(session)
        self._store_founders()

    def _store_founders(self) -> None:
        if self.revision or not self._founders or self._host.version_obstacle(0, ChangeUsers.since):
            return
        put = tuple((name, encode_user(user)) for name, user in sorted(self._founders.items()))
        size = sum(len(name) + len(data) for name, data in put)
        self._host.write(0, [ChangeUsers(0, put)], size, _ignore)

    def _reassign(self, session: UserSession, renewed: Collection[bytes] = ()) -> None:
        """Give a session the rights that its user has now. Those of `renewed` users end: see `_take`."""
        state = session.state
        if state.user in self._accounts and state.user not in renewed:
            before = state.rights
            self._assign(state)
            if state.rights is not before:
                session.rights_changed()
        else:
            state.rights = self._guest
            if state.id in self.changing:
                state.closing = True  # after the reply to the command that has removed its user
            else:
                session.abort("user_removed")

    # -- sessions -------------------------------------------------------------------------------------

    def enter(self, state: SessionState) -> None:
        """A connection was opened, or reset: its user is `default`, if that needs no password."""
        state.user = DEFAULT_NAME
        state.authenticated = self._open
        self._assign(state)

    def certified(self, state: SessionState, names: Sequence[bytes]) -> None:
        """The certificate of a client has these names: it is the first of these users that may log in.

        As in Redis, a client whose certificate names no such user is what it is without one.
        """
        for name in names:
            account = self._accounts.get(name)
            if account is not None and account.user.on:
                self._observer.login("done", state.peer, printable(name[:64]))
                self.log_in(state, name)
                return
        if names:
            self._add(CERTIFICATE, TOPLEVEL, b"", names[0], state.id)

    def log_in(self, state: SessionState, name: bytes) -> None:
        """The client has proved that it is the user, which exists."""
        state.user, state.authenticated = name, True
        self._assign(state)

    @property
    def _open(self) -> bool:
        default = self._accounts[DEFAULT_NAME].user
        return default.on and default.nopass

    def _assign(self, state: SessionState) -> None:
        if not (state.authenticated or self._open):
            state.rights = self._guest
        elif self._old:
            state.rights = self._outdated
        else:
            state.rights = self._accounts[state.user].rights

    # -- decisions ------------------------------------------------------------------------------------

    def check(self, rights: Rights, command: Controlled, request: Request, state: SessionState) -> None:
        """Raise Rejected if a session with `rights` may not make the request. What is no command may be."""
        if command.name == "unknown" or (command.subcommands and len(request) > 1):
            return
        refusal = self._refusal(rights, command, request, state)
        if refusal and command.kind == "exec":
            state.end_transaction()
            refusal = f"{ABORTED_BECAUSE} {refusal}"
        if refusal:
            raise Rejected(refusal)

    def _refusal(self, rights: Rights, command: Controlled, request: Request, state: SessionState) -> str:
        """The error, '' if there is none."""
        if rights.refusal:
            return "" if "no_auth" in command.flags else rights.refusal
        denial = rights.denial(command, request)
        if denial is None:
            return ""
        state.last_command = command.name
        self.denied(denial, TOPLEVEL if state.multi is None else MULTI, state.user, state.id)
        if denial.reason == Reason.KEY:
            return "NOPERM this user has no permissions to access one of the keys used as arguments"
        name = denial.subject.decode("utf-8", "surrogateescape")
        return f"NOPERM this user has no permissions to run the '{name}' command"

    def denied(self, denial: Denial, context: str, user: bytes, session: int = 0) -> None:
        """Remember that something was refused."""
        self._add(_REASONS[denial.reason], context, denial.subject, user, session)

    def login_failed(self, state: SessionState, name: bytes, command: bytes) -> None:
        """Remember that a client gave a wrong password, or a user who may not log in, by AUTH or HELLO."""
        self._add("auth", TOPLEVEL, command, name, state.id)

    def _add(self, reason: str, context: str, subject: bytes, user: bytes, id_: int) -> None:
        session = self._sessions.get(id_)
        line = "" if session is None else client_line(session, self._clock.seconds())
        self._observer.denied(reason)
        self.log.add(AccessLogEntry(reason, context, subject, user, line, self._clock.seconds()))

    def check_script(self, user: bytes, command: Controlled, request: Request) -> None:
        """Raise Rejected if a script of the encoded `user` may not run the command."""
        rights = self._compiled.get(user)
        if rights is None:
            if len(self._compiled) >= COMPILED_MAX:
                self._compiled.clear()
            rights = self._compiled[user] = Rights(decode_user(user), self.catalog)
        match = rights.permits.get(command)
        if match is FREE or (match is not None and match(request[1])):
            return
        denial = rights.denial(command, request)
        if denial is not None:
            self.denied(denial, LUA, rights.user.name)
            raise Rejected(f"ERR The user executing the script {_IN_SCRIPTS[denial.reason]}")


_IN_SCRIPTS = {
    Reason.COMMAND: "can't run this command or subcommand",
    Reason.KEY: "can't access at least one of the keys mentioned in the command arguments",
}


def _ignore(_: Any) -> None:
    """Another node may have stored the first users, or the next check tries again."""
