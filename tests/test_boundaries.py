"""The order of the packages, executed: imports point down, the core stays pure, no file is without a use."""

import re
from collections.abc import Iterator

import pytest

from tests.source import ROOT, SOURCES, Module, name_of, parse, read

# From the bottom: a package imports lower lines only, never its neighbours.
LINES = (
    {"int64", "listen_address", "moment", "glob", "untracked"},
    {"raft"},
    {"kv", "resp", "peerwire", "acl"},
    {"config", "node", "tcp", "tls"},
    {"backup"},
    {"host", "storage", "transport", "telemetry"},
    {"server", "web"},
    {"process"},
    {"tap", "cli"},
)
LEVEL = {package: level for level, line in enumerate(LINES) for package in line}

# Outside module: (packages that may use it, what the others do instead).
RESERVED = {
    "twisted": (
        {"tcp", "tls", "transport", "server", "web", "telemetry", "process", "tap", "cli"},
        "take a protocol of your own ports.py; process connects it to Twisted",
    ),
    "twisted.internet.reactor": ({"tap"}, "take a clock, an endpoint or a thread pool as an argument"),
    "apsw": ({"storage"}, "use host.ports.Disk, or the functions of storage"),
    "sqlite3": (set(), "kraft has one SQLite, apsw, in storage: locks do not hold between two libraries"),
    "OpenSSL": (set(), "use kraft.tls, which has one OpenSSL: that of Python"),
    "cryptography": ({"tls", "backup"}, "use kraft.tls or kraft.backup, which import it when they need it"),
    "yaml": ({"config"}, "use kraft.config.load: plain YAML lets duplicate keys pass"),
    "rich": ({"cli"}, "it is for terminals; make blocks of kraft.cli.output"),
    "prometheus_client": ({"telemetry"}, "report through an observer in your ports.py; telemetry counts"),
}

CORE = {"int64", "glob", "untracked", "raft", "kv", "resp", "peerwire", "acl"}
CLOCK = "take ticks and stamps as arguments"
DICE = "take a callable, such as the jitter"
EFFECTS = "return a value that says what to do; the host does it"
THREADS = "the core belongs to one thread; host and storage own the others"
REPORTS = "report through an observer protocol; telemetry logs"
NOT_IN_CORE = {
    "time": CLOCK,
    "datetime": CLOCK,
    "random": DICE,
    "secrets": DICE,
    "uuid": DICE,
    "os": EFFECTS,
    "io": EFFECTS,
    "pathlib": EFFECTS,
    "tempfile": EFFECTS,
    "socket": EFFECTS,
    "select": EFFECTS,
    "selectors": EFFECTS,
    "ssl": EFFECTS,
    "subprocess": EFFECTS,
    "signal": EFFECTS,
    "asyncio": THREADS,
    "threading": THREADS,
    "queue": THREADS,
    "concurrent": THREADS,
    "multiprocessing": THREADS,
    "logging": REPORTS,
    "structlog": REPORTS,
    "warnings": REPORTS,
}

# Nothing imports these: the plugin names the first, the console script the second, and the third is the
# separate statement of consensus' invariants, which tests and the simulator run.
ENTRIES = {"kraft.tap", "kraft.cli.main", "kraft.raft.invariants"}


def is_or_in(name: str, module: str) -> bool:
    """Whether `name` is `module` or something below it."""
    return name == module or name.startswith(module + ".")


def faults(module: Module) -> list[str]:
    """Every broken rule in one module, each with what to use instead."""
    own = module.name.split(".")[1] if "." in module.name else ""
    found = []
    for line, name in module.imports():
        where = f"{module.name}:{line} imports {name}"
        if is_or_in(name, "kraft"):
            found += [f"{where}: {reason}" for reason in _direction(own, name)]
            continue
        found += [
            f"{where}: only {', '.join(sorted(allowed)) or 'nobody'} may; {instead}"
            for reserved, (allowed, instead) in RESERVED.items()
            if is_or_in(name, reserved) and own not in allowed
        ]
        if own in CORE and (top := name.partition(".")[0]) in NOT_IN_CORE:
            found.append(f"{where}: not in the core; {NOT_IN_CORE[top]}")
    return found


def _direction(own: str, name: str) -> Iterator[str]:
    other = name.split(".")[1] if "." in name else ""
    if other not in LEVEL or own in (other, ""):
        return  # kraft itself (its version), or the same package
    if LEVEL[other] > LEVEL[own]:
        yield f"{other} is above {own}; define a protocol in {own} and let process connect them"
    elif LEVEL[other] == LEVEL[own]:
        yield f"{other} is beside {own}; define a protocol in {own} and let process connect them"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_point_down_and_stay_at_home(path):
    """No import goes up, sideways, or to something that another package owns."""
    assert faults(read(path)) == []


def test_every_package_has_a_line():
    """A new package must be given its place in the order."""
    unknown = {name_of(path).split(".")[1] for path in SOURCES if name_of(path) != "kraft"} - set(LEVEL)
    assert unknown == set()


def test_the_map_shows_the_order():
    """docs/architecture.md has the lines as they are here, the highest first."""
    page = (
        (ROOT / "docs/architecture.md").read_text().partition("| layer | packages |")[2].partition("\n\n")[0]
    )
    rows = [line.split("|")[2] for line in page.splitlines() if line.startswith("| ") and "`" in line]
    assert [set(re.findall(r"`(\w+)`", row)) for row in rows] == list(reversed(LINES))


def test_no_file_is_without_a_use():
    """Every module is reached from the plugin or the command line."""
    uses: dict[str, set[str]] = {name_of(path): set() for path in SOURCES}
    for path in SOURCES:
        module = name_of(path)
        for _, name in read(path).imports():
            parts = name.split(".")
            uses[module] |= {".".join(parts[:end]) for end in range(1, len(parts) + 1)} & uses.keys()
    reached, waiting = set(), ENTRIES & uses.keys()
    while waiting:
        module = waiting.pop()
        reached.add(module)
        waiting |= uses[module] - reached
    assert sorted(uses.keys() - reached) == []


def test_the_twisted_folder_stays_a_namespace():
    """With an __init__.py it would hide the installed Twisted from `python -m pytest` and `twist`."""
    assert list((ROOT / "twisted").rglob("__init__.py")) == []
    plugins = [path.name for path in (ROOT / "twisted" / "plugins").glob("*.py")]
    assert plugins == ["kraft_plugin.py"]


@pytest.mark.parametrize(
    ("module", "source", "reason"),
    [
        ("kraft.raft.raft", "from kraft.host import ports", "host is above raft"),
        ("kraft.kv.machine", "import kraft.resp.values", "resp is beside kv"),
        ("kraft.resp.parser", "from ..server import session", "server is above resp"),
        ("kraft.server.session", "from kraft.web.site import root", "web is beside server"),
        ("kraft.raft.raft", "def f():\n    import time", "not in the core"),
        ("kraft.raft.log.log", "from os import path", "not in the core"),
        (
            "kraft.host.group.group",
            "from twisted.internet.defer import Deferred",
            "only cli, process, server",
        ),
        ("kraft.server.factory", "from twisted.internet import reactor", "only tap may"),
        ("kraft.host.group.group", "import sqlite3", "only nobody may"),
        ("kraft.web.metrics", "from prometheus_client import generate_latest", "only telemetry may"),
    ],
)
def test_each_rule_sees_its_breach(module, source, reason):
    """The checker is trusted only while it catches planted faults."""
    [fault] = faults(parse(module, source))
    assert reason in fault


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("kraft.host.group.group", "from kraft.raft.raft import Raft"),
        ("kraft.tap", "def make():\n    from twisted.internet import reactor"),
        ("kraft.storage.sqlite", "import apsw\nimport threading"),
        ("kraft.server.session", "from kraft import __version__\nfrom .factory import Factory"),
    ],
)
def test_what_is_allowed_passes(module, source):
    """The checker does not forbid the architecture itself."""
    assert faults(parse(module, source)) == []
