"""A command loads what it needs and no more: most of the time of `kraft get` is imports."""

import subprocess
import sys

import pytest

from kraft.cli.subcommands import SUBCOMMANDS

NO_SERVER = {"twisted", "zope", "prometheus_client", "structlog", "rich", "prompt_toolkit", "shtab"}
NO_DISK = NO_SERVER | {"apsw"}
NO_CONFIG = NO_DISK | {"yaml", "msgspec", "http", "concurrent", "asyncio"}

ABSENT = {
    "": NO_CONFIG,  # the list of commands
    "get": NO_CONFIG,
    "set": NO_CONFIG,
    "del": NO_CONFIG,
    "members": NO_CONFIG,
    "split": NO_CONFIG,
    "merge": NO_CONFIG,
    "move": NO_CONFIG,
    "moves": NO_CONFIG,
    "rebalance": NO_CONFIG,
    "groups": NO_CONFIG,
    "replication": NO_CONFIG,
    "add": NO_CONFIG,
    "remove": NO_CONFIG,
    "replace": NO_CONFIG,
    "transfer": NO_CONFIG,
    "drain": NO_CONFIG,
    "shell": NO_CONFIG,
    "completion": NO_CONFIG,
    "status": NO_DISK,
    "check-config": NO_DISK,
    "demo": NO_SERVER,
    "doctor": {"prompt_toolkit", "shtab"},  # it looks at a node's limits in the node's own words
    "backup": NO_DISK,
    "restore": NO_SERVER,
    "upgrade-check": NO_DISK,
    "certs": NO_CONFIG,
    "recover": NO_SERVER,
}


def loaded(*words):
    """The packages that are loaded after `kraft WORDS`, which ends early for want of a server."""
    code = (
        "import sys\n"
        "from kraft.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}


@pytest.mark.parametrize("command", ABSENT)
def test_a_command_does_not_load_what_it_does_not_use(command):
    assert loaded(*command.split(), *(["--help"] if command else [])) & ABSENT[command] == set()


def test_a_command_that_runs_does_not_either():
    """To the end, at a port where nothing listens."""
    assert loaded("get", "-s", "127.0.0.1:1", "x") & NO_CONFIG == set()
    assert loaded("status", "127.0.0.1:1") & NO_DISK == set()


def test_every_command_is_in_the_table():
    assert {each.name for each in SUBCOMMANDS} | {"completion", ""} == set(ABSENT)


def test_a_node_does_not_load_what_it_may_never_use():
    """Every test of real nodes, and every restart, would pay for it."""
    code = "import sys, kraft.tap; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    unused = {"rich", "prompt_toolkit", "lupa", "twisted.web.client", "kraft.cli"}
    assert set(done.stdout.split()) & unused == set()
