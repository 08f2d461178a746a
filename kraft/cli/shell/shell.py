"""The conversation with a person at a terminal: read a command, send it, print the reply.

A command that fails costs nothing else: the shell goes on until Ctrl-D or `exit`.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from kraft.cli.cluster_client import ClusterClient
from kraft.cli.failure import Failure
from kraft.cli.shell import lines
from kraft.cli.shell.catalog import CommandCatalog
from kraft.cli.shell.formats import ReplyFormat, as_text, encoded
from kraft.cli.shell.help import help_lines
from kraft.cli.shell.prompts import Prompt
from kraft.resp.values import Error, Reply

SLOW_SECONDS = 0.5  # the time of a command that took at least this long is shown

Words = Sequence[bytes]
Write = Callable[[bytes], None]


class Leave(Exception):
    """The user has asked to leave the shell."""


class Shell:
    """Executes commands for a person or a script.

    out, err: write to standard output and standard error, and flush.
    """

    def __init__(
        self,
        client: ClusterClient,
        catalog: CommandCatalog,
        form: ReplyFormat,
        out: Write,
        err: Write,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self.out = out
        self.err = err
        self._catalog = catalog
        self.form = form
        self._clock = clock

    @property
    def label(self) -> str:
        """The prompt: the node that is asked."""
        if self.client.server is None or not self.client.connected:
            return "not connected> "
        return f"{self.client.server.id}{'(TX)' if self.client.in_transaction else ''}> "

    def greet(self) -> None:
        """Connect, and say to what."""
        try:
            self.client.ask()
        except Failure as failure:
            self.complain(str(failure))
        else:
            leader = self.client.leader
            told = f"{leader} leads" if leader else "no leader is known"
            self.say(f"{self.client.server}, {told}. `help` lists the commands, Ctrl-D leaves.")

    def interact(self, prompt: Prompt) -> int:
        """Read and execute commands until the end. Returns the exit status."""
        self.greet()
        while True:
            self.learn()
            try:
                typed = prompt.read(self.label)
            except KeyboardInterrupt:
                self.say("")
                continue
            except EOFError:
                self.say("")
                return 0
            try:
                for text, words in lines.commands(typed):
                    prompt.remember(lines.one_line(text, words))
                    self.perform(words)
            except lines.OpenQuote as problem:
                self.complain(str(problem))
            except Leave:
                return 0

    def learn(self) -> None:
        """Load the commands once a node answers. A node that fails meanwhile is no news at a prompt."""
        if self.client.connected and not self._catalog.loaded:
            try:
                self._catalog.load(self.client.call)
            except (Failure, KeyboardInterrupt):
                return

    def perform(self, words: Words) -> None:
        """Execute one command and print its reply or its failure. Raises Leave."""
        begun = self._clock()
        try:
            if self.local(words):
                return
            self.show(words, self.client.call(words))
        except KeyboardInterrupt:
            harmless = self._catalog.repeatable(words)
            self.complain("cancelled" if harmless else "cancelled: it may or may not have been executed")
        except Failure as failure:
            self.complain(str(failure))
        else:
            if (seconds := self._clock() - begun) >= SLOW_SECONDS:
                self.say(f"({seconds:.2f}s)")

    def local(self, words: Words) -> bool:
        """Execute a command of the shell's own; False if it is none. Raises Failure and Leave."""
        name = words[0].lower()
        if name in (b"exit", b"quit") and len(words) == 1:
            raise Leave
        if [word.upper() for word in words[:2]] == [b"CLIENT", b"REPLY"]:
            raise Failure("CLIENT REPLY is not for a shell: it waits for every reply")
        if name not in (b"help", b"?"):
            return False
        with suppress(Failure):
            self.client.ask()  # its commands are a part of the answer
        self.learn()
        topics = [word.decode("utf-8", "replace") for word in words[1:]]
        self.say("\n".join(help_lines(self._catalog, topics)))
        return True

    def show(self, words: Words, reply: Reply) -> None:
        """Print a reply, after what the node has sent without being asked."""
        for push in self.client.pushes():
            self.out(self.form.render(push))
        if isinstance(reply, Error) and self.form.errors_apart:
            self.complain(reply.text)
        else:
            self.out(self.form.render(as_text(words, reply)))

    def say(self, text: str) -> None:
        """Print a line of the shell's own."""
        self.out(encoded(f"{text}\n"))

    def complain(self, text: str) -> None:
        """Print a line on standard error."""
        self.err(encoded(f"{text}\n"))
