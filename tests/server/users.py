"""Clients of a port that has users, and the errors that they get."""

from kraft.config.values import UsersConfig
from tests.server.fakes import Port, Talk

PLAIN = UsersConfig(slow_hash=False)
NO_COMMAND = b"-NOPERM this user has no permissions to run the '%b' command\r\n"
NO_KEY = b"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"
NO_AUTH = b"-NOAUTH Authentication required.\r\n"
WRONG = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"


class Client:
    """One connection, on which time passes until a command is answered."""

    def __init__(self, port: Port) -> None:
        self.port = port
        self.talk: Talk = port.connect()

    def run(self, line: str, *more: str) -> bytes:
        return self.words(*line.split(), *more)

    def words(self, *words: str | bytes) -> bytes:
        reply = self.talk.run(*words)
        for _ in range(6):
            self.port.clock.advance(0.1)
            self.port.settle()
            reply += self.talk.read()
        return reply

    @property
    def closed(self) -> bool:
        return self.talk.transport.aborted or self.talk.transport.disconnecting


def user(admin: Client, rules: str, *more: str) -> Client:
    """A connection of a new user `u` with these rules."""
    assert admin.run(f"ACL SETUSER u on >pw {rules}", *more) == b"+OK\r\n"
    client = Client(admin.port)
    assert client.run("AUTH u pw") == b"+OK\r\n"
    return client
