"""ACL files: one line of ACL LIST for each user, as Redis reads and writes them."""

import os
import tempfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from secrets import token_bytes

from kraft.acl.catalog import Catalog
from kraft.acl.description import line_of
from kraft.acl.errors import RuleError
from kraft.acl.passwords import SALT_BYTES, Passwords
from kraft.acl.rules import UNKNOWN, has_spaces, joined, with_rule
from kraft.acl.user import User
from kraft.config.values import UsersConfig

FILE_BYTES_MAX = 8 << 20
NO_CHANGE = "WARNING: ACL errors detected, no change to the previously active ACL rules was performed"


class AclFile:
    """A file of users at `path`. Its methods take long, so they are called in another thread."""

    def __init__(self, path: str, catalog: Catalog, passwords: Passwords) -> None:
        self._path = Path(path)
        self._catalog = catalog
        self._passwords = passwords

    def read(self) -> Mapping[bytes, User]:
        """The users by name. Raises RuleError, which names every line with an error."""
        try:
            with self._path.open("rb") as file:
                text = file.read(FILE_BYTES_MAX + 1)
        except OSError as error:
            reason = error.strerror or str(error)
            raise RuleError(f"Error loading ACLs, opening file '{self._path}': {reason}") from None
        if len(text) > FILE_BYTES_MAX:
            raise RuleError(f"Error loading ACLs, '{self._path}' is longer than {FILE_BYTES_MAX} bytes")
        users: dict[bytes, User] = {}
        errors: list[str] = []
        for number, line in enumerate(text.split(b"\n"), 1):
            words = line.strip(b" \t\r\n").split(b" ")
            if words != [b""]:
                self._read_line(words, number, users, errors)
        if errors:
            raise RuleError("".join(errors) + NO_CHANGE)
        return users

    def _read_line(
        self, words: list[bytes], number: int, users: dict[bytes, User], errors: list[str]
    ) -> None:
        place = f"{self._path}:{number}"
        if words[0] != b"user" or len(words) < 2:
            errors.append(f"{place} should start with user keyword followed by the username. ")
            return
        name, shown = words[1], words[1].decode("utf-8", "surrogateescape")
        if has_spaces(name):
            errors.append(f"'{place}: username '{shown}' contains invalid characters. ")
        elif name in users:
            errors.append(f"WARNING: Duplicate user '{shown}' found on line {number}. ")
        else:
            users[name] = self._user(User(name), words[2:], place, errors)

    def _user(self, user: User, words: list[bytes], place: str, errors: list[str]) -> User:
        try:
            rules = joined(words)
        except RuleError:
            errors.append(f"{place}: Unmatched parenthesis in selector definition.")
            return user
        failed = False
        for rule in rules:
            try:
                user = with_rule(user, rule.strip(b"\t\r\n"), self._catalog, self._passwords)
            except RuleError as error:
                if str(error) == UNKNOWN:  # no secret is in it
                    shown = rule.decode("utf-8", "surrogateescape")
                    errors.append(f"{place}: Error in applying operation '{shown}': {error}. ")
                elif not failed:
                    failed = True
                    errors.append(f"{place}: {error}. ")
        return user

    def write(self, users: Iterable[User]) -> None:
        """Write the users, in place of the file. Raises OSError: then the file is as it was."""
        text = b"".join([line_of(user) + b"\n" for user in users])
        number, name = tempfile.mkstemp(prefix=f"{self._path.name}.", dir=self._path.parent)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(number)
            Path(name).replace(self._path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise


def passwords_by(config: UsersConfig) -> Passwords:
    """How passwords are stored, by the configuration of a node."""
    return Passwords(partial(token_bytes, SALT_BYTES) if config.slow_hash else None)


def acl_file(path: str, catalog: Catalog, config: UsersConfig) -> AclFile:
    """The file of users at `path`."""
    return AclFile(path, catalog, passwords_by(config))
