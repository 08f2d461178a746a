"""Changes of users, and questions about them, at the state of group 0 that all nodes share.

A change is computed from the users as they are after everything that came before, also through other nodes.
It is stored only if no other change came between; else it is computed again. The reply comes when this node
has applied it: so whatever the client sends next meets the new rights here, and within moments everywhere.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace
from twisted.python.failure import Failure

from kraft.acl.errors import RuleError
from kraft.acl.user import User, encode_user
from kraft.kv.commands import ChangeUsers
from kraft.resp.values import Error, Reply, Request
from kraft.server.commands.spec import CommandContext
from kraft.server.ports import NodeHost

TRIES_MAX = 8  # of a change, when others come between
USERS_BYTES_MAX = 8 << 20  # of all users together

_CONTENDED = Error("BUSY other changes of users came between, try again")
_TOO_MUCH = Error(f"ERR all users together exceed limit of {USERS_BYTES_MAX} bytes")


class UserQuery:
    """A question about the users: `answer` gives the reply, as soon as this node knows all changes."""

    def __init__(
        self, context: CommandContext, request: Request, answer: Callable[[CommandContext, Request], Reply]
    ) -> None:
        self._context = context
        self._request = request
        self._answer = answer

    def ask(self, host: NodeHost, done: Callable[[Any], None]) -> None:
        """`done` gets a view, at which nobody looks, or an exception."""
        host.read(0, done, self._context.state.fresh)

    def reply(self, _: object) -> Reply:
        """The answer."""
        return self._answer(self._context, self._request)


class Edit:
    """What becomes of the users: those that are `put`, by their old or new names, and those `removed`."""

    def __init__(self, reply: Reply, put: Sequence[User] = (), removed: Sequence[bytes] = ()) -> None:
        self.reply = reply
        self.put = tuple(put)
        self.removed = tuple(removed)


Compute = Callable[[Mapping[bytes, User]], Edit]
"""Gives what becomes of the present users, by name. Raises RuleError."""


class UserChange:
    """A change of users. With `slow`, `compute` takes long, so it is called in another thread."""

    def __init__(self, context: CommandContext, compute: Compute, *, slow: bool) -> None:
        self._context = context
        self._users = context.port.users
        self._compute = compute
        self._slow = slow
        self._tries = 0
        self._host: Any = None
        self._done: Any = None

    def ask(self, host: NodeHost, done: Callable[[Any], None]) -> None:
        """`done` gets the reply, or an exception."""
        self._host, self._done = host, done
        self._users.changing.add(self._context.state.id)
        self._begin()

    def reply(self, outcome: Reply) -> Reply:
        """The reply itself."""
        return outcome

    def _begin(self) -> None:
        self._host.read(0, self._viewed, self._context.state.fresh)

    def _viewed(self, outcome: object) -> None:
        if isinstance(outcome, Exception):
            self._finish(outcome)
            return
        users = {user.name: user for user in self._users.all()}
        revision = self._users.revision
        work = partial(self._compute, users)
        if self._slow:
            self._context.port.passwords.in_thread(work).addBoth(partial(self._computed, revision, users))
        else:
            try:
                edit: Any = work()
            except RuleError:
                edit = Failure()
            self._computed(revision, users, edit)

    def _computed(self, revision: int, users: Mapping[bytes, User], edit: Any) -> None:
        if isinstance(edit, Failure):
            known = edit.check(RuleError)
            self._finish(Error(f"ERR {edit.getErrorMessage()}") if known else edit.value)
            return
        if not (edit.put or edit.removed):
            self._finish(edit.reply)
            return
        edited = [_dated(user, users.get(user.name), revision) for user in edit.put]
        left = {**users, **{user.name: user for user in edited}}
        for name in edit.removed:
            left.pop(name, None)
        if sum([len(encode_user(user)) for user in left.values()]) > USERS_BYTES_MAX:
            self._finish(_TOO_MUCH)
            return
        put = tuple((user.name, encode_user(user)) for user in edited)
        command = ChangeUsers(revision, put, edit.removed)
        size = sum([len(name) + len(data) for name, data in put]) + sum(map(len, edit.removed))
        self._host.write(0, [command], size, partial(self._written, edit.reply))

    def _written(self, reply: Reply, outcome: Any) -> None:
        if isinstance(outcome, Exception):
            self._finish(outcome)
        elif outcome == [1]:
            self._host.read(0, lambda _: self._finish(reply))  # until this node has applied it
        elif self._tries >= TRIES_MAX:
            self._finish(_CONTENDED)
        else:
            self._tries += 1
            self._begin()

    def _finish(self, outcome: Any) -> None:
        self._users.changing.discard(self._context.state.id)
        self._done(outcome)


def _dated(user: User, known: User | None, revision: int) -> User:
    """The user with its `created`: that of the `known` one of this name, or of this change."""
    return replace(user, created=revision + 1 if known is None else known.created)
