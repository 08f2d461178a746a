"""`kraft get`, `kraft set` and `kraft del`: one key from a script, whatever the node that answers.

For everything else there is `kraft shell -c`.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from kraft.cli import servers
from kraft.cli.cluster_client import ClusterClient, OutcomeUnknown, never
from kraft.cli.failure import Failure
from kraft.resp.values import Error, Reply

ABSENT = 3  # exit status: there is no such key, or the condition of a SET did not hold

STATUS = """
exit status: 0 done; 1 failed, and nothing was changed; 2 wrong usage; 3 {absent};
4 unknown: it was sent and the reply was lost, so read the key before you repeat it
"""

GET_EXAMPLES = """\
examples:
  kraft get greeting
  kraft get --raw picture > picture.png          the exact bytes, without a line end
  kraft get -s 10.0.0.1:10011 greeting           ask this node; KRAFT_SERVERS may name nodes too
""" + STATUS.format(absent="there is no such key")

SET_EXAMPLES = """\
examples:
  kraft set greeting hello
  kraft set session abc EX 60 NX                 options as in Redis
  kraft set picture - < picture.png              the value from standard input, every byte of it
  kraft set -- temperature -5c                   a value that begins with a dash
""" + STATUS.format(absent="a condition (NX, XX) did not hold")

DEL_EXAMPLES = """\
examples:
  kraft del greeting session                     prints how many of them existed
""" + STATUS.replace(" 3 {absent};", "")


def declare_get(parser: argparse.ArgumentParser) -> None:
    """Declare `kraft get`."""
    told = "Print the value of a key, on whatever node of the cluster answers."
    servers.declare(parser, told, GET_EXAMPLES, run_get)
    parser.add_argument("key", metavar="KEY")
    parser.add_argument("--raw", action="store_true", help="print no line end after the value")


def declare_set(parser: argparse.ArgumentParser) -> None:
    """Declare `kraft set`."""
    told = "Set the value of a key, on whatever node of the cluster answers."
    servers.declare(parser, told, SET_EXAMPLES, run_set)
    parser.add_argument("key", metavar="KEY")
    parser.add_argument("value", metavar="VALUE", help="- reads it from standard input")
    parser.add_argument("options", nargs="*", metavar="OPTION", help="EX 60, NX and others, as SET has them")


def declare_del(parser: argparse.ArgumentParser) -> None:
    """Declare `kraft del`."""
    told = "Delete keys, on whatever node of the cluster answers."
    servers.declare(parser, told, DEL_EXAMPLES, run_del)
    parser.add_argument("keys", nargs="+", metavar="KEY")


def run_get(chosen: argparse.Namespace) -> int:
    """Print a value. Returns the exit status."""
    value = _ask(chosen, ["GET", chosen.key], repeatable=True)
    if not isinstance(value, bytes):
        print(f"kraft: there is no key {chosen.key!r}", file=sys.stderr)
        return ABSENT
    sys.stdout.buffer.write(value if chosen.raw else value + b"\n")
    return 0


def run_set(chosen: argparse.Namespace) -> int:
    """Set a value. Returns the exit status."""
    value = sys.stdin.buffer.read() if chosen.value == "-" else chosen.value
    reply = _ask(chosen, ["SET", chosen.key, value, *chosen.options])
    if isinstance(reply, bytes):
        sys.stdout.buffer.write(reply + b"\n")  # with GET: the old value
    elif reply is not None:
        print(reply)
    elif "GET" not in map(str.upper, chosen.options):
        print("kraft: not set: the condition did not hold", file=sys.stderr)
        return ABSENT
    return 0


def run_del(chosen: argparse.Namespace) -> int:
    """Delete keys and print how many existed. Returns the exit status."""
    count = _ask(chosen, ["DEL", *chosen.keys])
    print(count)
    return 0


def _ask(chosen: argparse.Namespace, words: Sequence[str | bytes], repeatable: bool = False) -> Reply:
    """The reply to one command. Raises Failure for an error."""
    client = ClusterClient(
        servers.chosen(chosen),
        repeatable=(lambda _: True) if repeatable else never,
        connect=servers.connector(chosen),
    )
    try:
        reply = client.call([os.fsencode(word) for word in words])
    finally:
        client.close()
    if isinstance(reply, Error):
        raise (OutcomeUnknown if reply.text.startswith("UNCERTAIN") else Failure)(reply.text)
    return reply
