"""As which user the commands of `kraft` log in: from the environment, which no list of processes shows."""

import getpass
import os
import warnings
from dataclasses import dataclass

from kraft.cli.failure import WrongUsage
from kraft.resp.values import Error, Reply

USER, PASSWORD = "KRAFT_USER", "KRAFT_PASSWORD"  # names
DEFAULT_USER = "default"


@dataclass(frozen=True, slots=True)
class LoginCredentials:
    """A user and its password."""

    user: str
    password: str

    @property
    def words(self) -> list[bytes]:
        """The option of HELLO."""
        return [b"AUTH", os.fsencode(self.user), os.fsencode(self.password)]


def credentials() -> LoginCredentials | None:
    """What `KRAFT_USER` and `KRAFT_PASSWORD` say, None without a password."""
    password = os.environ.get(PASSWORD)
    return None if password is None else LoginCredentials(os.environ.get(USER, DEFAULT_USER), password)


def ask_for_password(user: str) -> None:
    """Log in as `user` from now on; ask for the password at the terminal, unless the environment has one.

    Raises WrongUsage where there is no terminal. `getpass` would then take the first line of standard input,
    which is a command.
    """
    os.environ[USER] = user
    if PASSWORD in os.environ:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            os.environ[PASSWORD] = getpass.getpass(f"password of {user}: ")
    except (getpass.GetPassWarning, EOFError):
        raise WrongUsage(f"no password for {user}: set {PASSWORD}, as no terminal can be asked") from None


def refusal(reply: Reply) -> str:
    """Why a node does not let this user in, by its reply to HELLO; '' if it does."""
    if not isinstance(reply, Error):
        return ""
    if reply.text.startswith("NOAUTH"):
        return f"the cluster has users: set {USER} and {PASSWORD}, or use kraft shell --user (docs/users.md)"
    if reply.text.startswith("WRONGPASS"):
        user = os.environ.get(USER, DEFAULT_USER)
        return f"wrong password of {user}, or no such user: look at {USER} and {PASSWORD} (docs/users.md)"
    return ""
