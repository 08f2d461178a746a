"""The shell of the Java project: its banner, prompt, ten commands and messages.

Source: https://github.com/Khighness/kraft, kraft-kvstore. Every other command goes to the server and is
answered as in `kraft shell`.
"""

from collections.abc import Callable

from kraft.cli.cluster_client import NoServer, pairs, text
from kraft.cli.failure import Failure, WrongUsage
from kraft.cli.servers import ServerAddress, server
from kraft.cli.shell.shell import Leave, Shell, Words
from kraft.resp.values import Error, Reply

PROMPT = "kvstore-client 1.0.0> "
STARS = "*" * 47
UNKNOWN = "ERR unknown command"


def parse_servers(words: list[str]) -> list[ServerAddress]:
    """The value of `-sc`: `ID,HOST,PORT` for each server. Raises WrongUsage as the Java launcher puts it."""
    found = []
    for word in " ".join(words).split():
        parts = word.split(",")
        if len(parts) != 3:
            raise WrongUsage(f"illegal server config [{word}]")
        try:
            found.append(_server(*parts))
        except Failure as failure:
            raise WrongUsage(str(failure)) from None
    return found


def _server(id_: str, host: str, port: str) -> ServerAddress:
    try:
        return server(id_, host, port)
    except ValueError as problem:
        raise Failure(f"illegal port [{port}]" if not port.isdecimal() else str(problem)) from None


class JavaShell(Shell):
    """The Java shell keeps a list of servers, which commands change."""

    @property
    def label(self) -> str:
        return PROMPT

    def greet(self) -> None:
        self.say(f"Welcome to KRaft KVStore Shell\n\n{STARS}\ncurrent server list:\n")
        self._list_servers()
        self.say(STARS)

    def local(self, words: Words) -> bool:
        own = self._own().get(words[0].lower())
        if own is None:
            return super().local(words)
        usage, counts, run = own
        if len(words) - 1 not in counts:
            raise Failure(f"usage: {words[0].decode()} {usage}".rstrip())
        run(*words[1:])
        return True

    def show(self, words: Words, reply: Reply) -> None:
        if isinstance(reply, Error) and reply.text.startswith(UNKNOWN):
            self.complain(f"no such command [{words[0].decode('utf-8', 'replace')}]")
        else:
            super().show(words, reply)

    def _own(self) -> dict[bytes, tuple[str, tuple[int, ...], Callable[..., None]]]:
        """Usage, possible numbers of arguments, and method by name."""
        return {
            b"kvstore-get": ("<key>", (1,), self._get),
            b"kvstore-set": ("<key> <value>", (2,), self._set),
            b"raft-add-node": ("<node-id> <host> <raft-rpc-node>", (3,), self._add_node),
            b"raft-remove-node": ("<node-id>", (1,), self._remove_node),
            b"client-add-server": ("<node-id> <host> <service-port>", (3,), self._add_server),
            b"client-remove-server": ("<node-id>", (1,), self._remove_server),
            b"client-list-server": ("", (0,), self._list_servers),
            b"client-get-leader": ("", (0,), self._get_leader),
            b"client-set-leader": ("<node-id>", (1,), self._set_leader),
            b"exit": ("", (0,), self._exit),
        }

    def _get(self, key: bytes) -> None:
        value = self._ask(b"kvstore-get", key)
        self.out(value + b"\n" if isinstance(value, bytes) else b"null\n")

    def _set(self, key: bytes, value: bytes) -> None:
        self._ask(b"kvstore-set", key, value)

    def _add_node(self, id_: bytes, host: bytes, port: bytes) -> None:
        _server(*map(text, (id_, host, port)))  # a wrong port is refused here, in the words of the Java shell
        self._ask(b"raft-add-node", id_, host, port)

    def _remove_node(self, id_: bytes) -> None:
        self._ask(b"raft-remove-node", id_)

    def _add_server(self, id_: bytes, host: bytes, port: bytes) -> None:
        added = _server(*(word.decode("utf-8", "replace") for word in (id_, host, port)))
        self.client.servers[added.id] = added
        self._list_servers()

    def _remove_server(self, id_: bytes) -> None:
        removed = self._listed(id_)
        if removed is None:
            raise Failure(f"no such server [{text(id_)}]")
        del self.client.servers[removed.id]
        self._list_servers()

    def _list_servers(self) -> None:
        self.say("\n".join(f"{each.id},{each.host},{each.port}" for each in self.client.servers.values()))

    def _get_leader(self) -> None:
        """The leader that the cluster has now; `null` if no node knows one."""
        status = pairs(self._ask(b"KRAFT", b"STATUS"))
        groups = status.get("groups")
        group = pairs(groups[0]) if isinstance(groups, list) and groups else {}
        self.say(text(group.get("leader")) or "null")

    def _set_leader(self, id_: bytes) -> None:
        """Ask this server first. It sends the shell on to the leader, if it is another one."""
        wanted = self._listed(id_)
        if wanted is None:
            raise Failure(f"no such server [{text(id_)}] in list")
        self.client.prefer(wanted)
        self.say(wanted.id)

    def _exit(self) -> None:
        self.say("bye")
        raise Leave

    def _listed(self, id_: bytes) -> ServerAddress | None:
        return self.client.servers.get(text(id_))

    def _ask(self, *words: bytes) -> Reply:
        """The reply to a command. Raises Failure with the text of an error reply."""
        try:
            reply = self.client.call(words)
        except NoServer:
            raise Failure("no available server") from None
        if isinstance(reply, Error):
            raise Failure(reply.text)
        return reply
