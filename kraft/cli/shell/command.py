"""`kraft shell`: a client for people and scripts that knows the whole cluster."""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from kraft.cli import arguments, servers, tls_options
from kraft.cli.cluster_client import TIMEOUT_DEFAULT_SECONDS, ClusterClient
from kraft.cli.credentials import ask_for_password
from kraft.cli.failure import Failure
from kraft.cli.shell.catalog import CommandCatalog
from kraft.cli.shell.formats import (
    GREY,
    PLAIN,
    JsonFormat,
    RawFormat,
    ReplyFormat,
    TerminalFormat,
    encoded,
    safe,
)
from kraft.cli.shell.history import HistoryFile, default_path
from kraft.cli.shell.java import JavaShell, parse_servers
from kraft.cli.shell.prompts import best_prompt
from kraft.cli.shell.script import Script
from kraft.cli.shell.shell import Shell

TIMEOUT_MAX_SECONDS = 3600.0

DESCRIPTION = """\
Reads commands, sends them to the cluster and prints the replies. It asks the leader, follows it when another
node takes over, and goes on with another node when one fails. A command that changes something is never sent
twice: if its reply is lost, the shell says that its outcome is unknown. `help` lists the commands.
"""

EXAMPLES = """\
examples:
  kraft shell                                    a demo on this machine, or $KRAFT_SERVERS
  kraft shell 10.0.0.1 10.0.0.2                  start from these nodes; one is enough
  kraft shell -c 'incr visits' -c 'get visits'   commands without a terminal
  kraft shell --json -f load.txt                 commands from a file, one line of JSON for each
  kraft shell --tls --cacert ca.crt 10.0.0.1     with TLS; --cert and --key if the port asks for a certificate
  printf 'set a 1\\nget a\\n' | kraft shell        commands from a pipe
  kraft shell -sc "K1,127.0.0.1,10011 K2,127.0.0.1,10012 K3,127.0.0.1,10013"      as the Java shell

An address is HOST:PORT of a client port, HOST, ID,HOST,PORT, or the id of a node, which a configuration at
hand or $KRAFT_SERVERS has. At a terminal replies look as in redis-cli; elsewhere they are raw. The history is
in $XDG_STATE_HOME/kraft/shell_history, in ~/.local/state by default. kraft[shell] installs prompt_toolkit,
which adds hints. docs/shell.md explains more.

exit status: 0 every command succeeded; 1 one failed; 2 wrong usage; 4 the outcome of a command is unknown
"""


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand."""
    parser.description = DESCRIPTION
    parser.epilog = EXAMPLES
    parser.add_argument(
        "servers",
        nargs="*",
        type=servers.argument,
        metavar="ADDRESS",
        help=f"client ports of nodes (default ${servers.VARIABLE}, or 127.0.0.1:10011 to 10013)",
    )
    parser.add_argument(
        "-s",
        "--server",
        type=servers.argument,
        action="append",
        default=[],
        metavar="ADDRESS",
        help="the same, as in the other commands; may be repeated",
    )
    parser.add_argument(
        "-sc", nargs="+", metavar="ID,HOST,PORT", dest="java", help="be the Java shell, with these servers"
    )
    _declare_source(parser)
    _declare_form(parser)
    parser.add_argument(
        "--user",
        metavar="NAME",
        help="log in as this user; the password is in $KRAFT_PASSWORD, or asked for",
    )
    parser.add_argument("--stop", action="store_true", help="end a script at the first command that fails")
    parser.add_argument(
        "--no-follow",
        action="store_false",
        dest="follow",
        help="ask only the given nodes, and not the leader",
    )
    parser.add_argument(
        "--timeout",
        type=arguments.seconds(TIMEOUT_MAX_SECONDS),
        default=TIMEOUT_DEFAULT_SECONDS,
        metavar="SECONDS",
        help=f"for one reply (default {TIMEOUT_DEFAULT_SECONDS:g}); nodes are tried for twice as long",
    )
    tls_options.declare(parser)
    parser.set_defaults(run=run)


def _declare_source(parser: argparse.ArgumentParser) -> None:
    """Declare where the commands come from, if not from the terminal."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "-c", action="append", metavar="COMMAND", dest="words", help="execute this; may be repeated"
    )
    source.add_argument("-f", "--file", type=Path, metavar="FILE", help="execute the lines of a file")


def _declare_form(parser: argparse.ArgumentParser) -> None:
    """Declare how replies look."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--json", action="store_const", const="json", dest="form", help="one line of JSON per reply"
    )
    form.add_argument(
        "--raw", action="store_const", const="raw", dest="form", help="raw replies at a terminal too"
    )
    form.add_argument(
        "--no-raw",
        action="store_const",
        const="terminal",
        dest="form",
        help="replies as at a terminal everywhere",
    )


def run(chosen: argparse.Namespace) -> int:
    """Execute what was given, or talk to the person at the terminal. Returns the exit status."""
    chosen.servers = [*chosen.servers, *chosen.server]
    given = parse_servers(chosen.java) if chosen.java else servers.chosen(chosen)
    if chosen.user:
        ask_for_password(chosen.user)
    typed = not (chosen.words or chosen.file) and sys.stdin.isatty() and sys.stdout.isatty()
    catalog = CommandCatalog()
    client = ClusterClient(
        given,
        follow=chosen.follow,
        timeout=chosen.timeout,
        repeatable=catalog.repeatable,
        report=_report if typed and not chosen.java else lambda _: None,
        connect=servers.connector(chosen),
    )
    kind = JavaShell if chosen.java else Shell
    shell = kind(client, catalog, _format(chosen), _out, _err)
    try:
        if typed:
            return shell.interact(best_prompt(catalog, HistoryFile(default_path())))
        source, lines = _script(chosen)
        return Script(shell, source, chosen.stop).run(lines)
    finally:
        client.close()


def _format(chosen: argparse.Namespace) -> ReplyFormat:
    if chosen.form == "json":
        return JsonFormat()
    if chosen.form == "raw" or (chosen.form is None and not sys.stdout.isatty()):
        return RawFormat()
    return TerminalFormat(colour=not chosen.java and _colour(sys.stdout.isatty()))


def _colour(terminal: bool) -> bool:
    """Whether to use colours: https://no-color.org."""
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _script(chosen: argparse.Namespace) -> tuple[str, Iterator[bytes]]:
    """What stands before the number of a line in messages, and the lines."""
    if chosen.words:
        return "command ", (os.fsencode(word) for word in chosen.words)
    if chosen.file:
        try:
            return f"{chosen.file}:", iter(chosen.file.open("rb"))
        except OSError as error:
            raise Failure(f"{chosen.file}: {error.strerror}") from None
    return "line ", iter(sys.stdin.buffer)


def _report(text: str) -> None:
    line = f"{GREY}{safe(text)}{PLAIN}" if _colour(sys.stderr.isatty()) else safe(text)
    _err(encoded(f"{line}\n"))


def _out(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _err(data: bytes) -> None:
    sys.stderr.buffer.write(data)
    sys.stderr.buffer.flush()
