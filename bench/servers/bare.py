"""The upper bound: one Twisted process that parses commands and replies +OK without storing anything.

Arguments: PORT. The difference to kraft is the cost of replication, durability and commands.
"""

import sys

from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet import reactor  # noqa: E402 - the reactor is chosen above

from bench.servers.wire import Commands, listen  # noqa: E402


class Bare(Commands):
    """Replies +OK to every command, with one write per read."""

    def commands_received(self, commands: list[list[bytes]]) -> None:
        """Reply without looking at the commands."""
        self.send(b"+OK\r\n" * len(commands))


if __name__ == "__main__":
    listen(reactor, int(sys.argv[1]), Bare)
    reactor.run()
