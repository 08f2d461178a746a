"""AUTH, and HELLO with AUTH: a client says which user it is.

The node compares with its own copy of the users, after a read of group 0 has shown that it is up to date. If
there is no leader, it compares with what it has, up to `users.max_staleness`. The reply to a wrong password
comes after a fixed time, and a slow comparison is made whether or not there is such a user.
"""

from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from secrets import token_bytes
from typing import Any

from msgspec.structs import replace

from kraft.acl.passwords import PASSWORD_BYTES_MAX, is_slow, matches, waste_time
from kraft.acl.user import DEFAULT_NAME, User
from kraft.resp.values import Error, Reply, Request
from kraft.server import errors
from kraft.server.commands.greeting import Greeting, greeting, hello_options
from kraft.server.commands.spec import CommandContext
from kraft.server.errors import Rejected
from kraft.server.ports import NodeHost

REFUSED_SECONDS = 0.25  # from a wrong password to the reply: longer than all comparisons take
PROOFS_MAX = 1000  # right passwords that are recognised without a slow comparison

_TOO_MANY = Error("ERR too many logins wait for a comparison of their passwords, try again later")
_KEY = token_bytes(32)
_proofs: dict[tuple[bytes, bytes], bytes] = {}  # of the stored form and a keyed hash of the password


class Login:
    """One attempt of a client to be the user `name`. After it has succeeded, `then` gives the reply."""

    def __init__(
        self,
        context: CommandContext,
        request: Request,
        name: bytes,
        password: bytes,
        then: Callable[[], Reply],
    ) -> None:
        self._state = context.state
        self._port = context.port
        self._users = context.port.users
        self._command = request[0]
        self._name = name
        self._password = password
        self._then = then
        self._began = context.port.clock.seconds()
        self._done: Callable[[Any], None] = _not_asked

    def ask(self, host: NodeHost, done: Callable[[Any], None]) -> None:
        """`done` gets whether the client is the user, or an error."""
        self._done = done
        account = self._users.get(self._name)
        if self._users.defined or account is None or not account.user.nopass:
            host.read(0, lambda _: self._compare())  # also for the first user, made at another node just now
        else:
            self._port.clock.call_soon(self._compare)

    def reply(self, outcome: bool | Error) -> Reply:
        """OK, or what `then` gives, or an error."""
        if isinstance(outcome, Error):
            return outcome
        account = self._users.get(self._name)
        if not outcome or account is None or not account.user.on:
            return Error(errors.WRONG_PASSWORD)
        self._users.log_in(self._state, self._name)
        return self._then()

    def _compare(self) -> None:
        account = self._users.get(self._name)
        user = account.user if account is not None and account.user.on else User(self._name)
        if len(self._password) > PASSWORD_BYTES_MAX:  # nobody has such a password
            user = replace(user, passwords=())
        if self._users.old:
            self._done(Error(errors.OLD_USERS))
        elif user.nopass or self._known(user):
            self._ended(True)
        elif not self._users.defined:
            self._ended(False)
        else:
            slow = [stored for stored in user.passwords if is_slow(stored)]
            if not slow and not self._port.config.users.slow_hash:
                self._ended(False)
                return
            source = self._state.peer.rpartition(":")[0]
            work = partial(_compared, slow, self._password[:PASSWORD_BYTES_MAX])
            if not self._port.passwords.add(source, work, partial(self._compared, slow)):
                self._port.observer.login("busy", self._state.peer, _printable(self._name))
                self._port.clock.call_later(REFUSED_SECONDS, partial(self._done, _TOO_MANY))

    def _known(self, user: User) -> bool:
        """Whether a comparison that takes no time shows that the password is right."""
        if not user.passwords:
            return False
        proof = blake2b(self._password, key=_KEY).digest()
        right = False
        for stored in user.passwords:
            right |= (stored, proof) in _proofs if is_slow(stored) else matches(stored, self._password)
        return right

    def _compared(self, slow: list[bytes], right: bool) -> None:
        account = self._users.get(self._name)
        if right and account is not None and not set(slow) <= set(account.user.passwords):
            self._compare()  # the right one may be gone: comparisons take time, and wait for each other
            return
        if right:
            proof = blake2b(self._password, key=_KEY).digest()
            if len(_proofs) >= PROOFS_MAX:
                _proofs.clear()
            _proofs.update({(stored, proof): b"" for stored in slow if len(slow) == 1})
        self._ended(right)

    def _ended(self, right: bool) -> None:
        self._port.observer.login("done" if right else "failed", self._state.peer, _printable(self._name))
        if right:
            self._done(True)
            return
        self._users.login_failed(self._state, self._name, self._command)
        rest = self._began + self._users.defined * REFUSED_SECONDS - self._port.clock.seconds()
        self._port.clock.call_later(max(0.0, rest), partial(self._done, False))


def _compared(slow: list[bytes], password: bytes) -> bool:
    """Whether the password is one of those, in the time of at least one comparison."""
    if not slow:
        waste_time(password)
    found = [matches(stored, password) for stored in slow]  # all of them, whichever it is
    return any(found)


def _printable(name: bytes) -> str:
    return errors.printable(name[:64])


def _not_asked(_: object) -> None:
    raise RuntimeError("a login that nobody has asked for")


def auth(context: CommandContext, request: Request) -> Login:
    """AUTH [user] password."""
    if len(request) > 3:
        raise Rejected(errors.SYNTAX)
    if len(request) == 3:
        return Login(context, request, request[1], request[2], lambda: "OK")
    default = context.port.users.get(DEFAULT_NAME)
    if default is None or default.user.nopass:
        raise Rejected(
            "ERR AUTH <password> called without any password configured for the default user. "
            "Are you sure your configuration is correct?"
        )
    return Login(context, request, DEFAULT_NAME, request[1], lambda: "OK")


def hello_auth(context: CommandContext, request: Request) -> Login:
    """HELLO 2 | 3 [SETNAME name] AUTH user password [SETNAME name]."""
    options = hello_options(context, request)
    name, password = options.login or (b"", b"")
    return Login(context, request, name, password, partial(_greeted, context, options))


def _greeted(context: CommandContext, options: Greeting) -> Reply:
    reply = greeting(context, options)
    context.port.report_protocol(context.state)
    return reply
