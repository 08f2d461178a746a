"""The shape of the code, executed: no circles, folders in order, class names unique, files named by a class.

Each rule is a function of modules to the subjects that break it.
"""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.source import SOURCES, Module, circles, edges, parse, read

Modules = Mapping[str, Module]

# From the bottom: a sub-package imports those before it, never one after it. Loose files of a package may
# stand anywhere between them, as long as no circle comes of it.
SUBPACKAGES = {
    "raft": ("membership", "log"),
    "kv": ("values", "commands"),
    "host": (
        "membership",
        "requests",
        "snapshots",
        "consistency",
        "group",
        "backup",
        "absent",
        "transactions",
        "moves",
        "placement",
        "admin",
    ),
    "server": ("commands", "lua"),
    "storage": ("log", "state", "offline"),
    "telemetry": ("metrics", "recent"),
    "web": ("charts",),
    "cli": ("output", "checks", "shell"),
}

# Files named by the kind of their classes; every other file with classes is named by one of them.
COLLECTIONS = {"errors", "ports", "values"}

LINES_MAX = 300  # of a class; a longer one says in its docstring why it is "longer than 300 lines"


def import_circles(modules: Modules) -> Iterator[str]:
    """Modules that import one another, by whatever way round; imports for types count."""
    for circle in circles(edges(modules)):
        yield from circle


def folders_out_of_order(modules: Modules) -> Iterator[str]:
    """Imports of a sub-package that stands after the importer's in SUBPACKAGES, also through loose files."""
    graph = edges(modules)
    for package, order in SUBPACKAGES.items():
        height = {f"kraft.{package}.{name}": place for place, name in enumerate(order)}
        for name in graph:
            folder = _folder(name, package)
            if folder in height:
                for reached in _reached(graph, name, package):
                    if height.get(_folder(reached, package), -1) > height[folder]:
                        yield f"{name} -> {reached}"


def _folder(name: str, package: str) -> str:
    """The sub-package that a module is in, or the module itself where it is a loose file of `package`."""
    return ".".join(name.split(".")[:3]) if name.startswith(f"kraft.{package}.") else ""


def _reached(graph: Mapping[str, set[str]], name: str, package: str) -> set[str]:
    """What a module imports of its package, directly or through the package's loose files."""
    found: set[str] = set()
    waiting = list(graph[name])
    while waiting:
        target = waiting.pop()
        if target not in found and _folder(target, package):
            found.add(target)
            if target.count(".") == 2:
                waiting += graph[target]
    return found


def folders_in_circles(modules: Modules) -> Iterator[str]:
    """Sub-packages and loose files of one package that import one another, a sub-package seen as one."""
    graph = edges(modules)
    for package in sorted({name.split(".")[1] for name in modules if "." in name}):
        folded: dict[str, set[str]] = defaultdict(set)
        for name, targets in graph.items():
            here = _folder(name, package)
            if here:
                folded[here] |= {_folder(target, package) for target in targets} - {here, ""}
                for target in folded[here]:
                    folded.setdefault(target, set())
        for circle in circles(folded):
            yield from circle


def folders_without_a_place(modules: Modules) -> Iterator[str]:
    """Sub-packages that SUBPACKAGES does not name."""
    folders = {tuple(name.split(".")[1:3]) for name in modules if name.count(".") >= 3}
    for package, folder in sorted(folders):
        if folder not in SUBPACKAGES.get(package, ()):
            yield f"kraft.{package}.{folder}"


def repeated_classes(modules: Modules) -> Iterator[str]:
    """Public class names that two modules define."""
    names = Counter(node.name for module in modules.values() for node in module.public_classes())
    yield from sorted(name for name, count in names.items() if count > 1)


def misnamed_files(modules: Modules) -> Iterator[str]:
    """Files whose name shares no word with a public class or type alias in them; exceptions name no file."""
    for name, module in sorted(modules.items()):
        classes = [node.name for node in module.public_classes() if not _is_exception(node)]
        if classes and not module.package and module.stem not in COLLECTIONS:
            words = {word for class_ in classes + module.aliases() for word in _words(class_)}
            if not words & _words(module.stem):
                yield name


def _is_exception(node: ast.ClassDef) -> bool:
    bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
    return any(base.endswith(("Exception", "Error")) for base in bases)


def _words(name: str) -> set[str]:
    """The words of a name in either spelling, in the singular: `ReadRounds` gives read, round, readround."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower().split("_")
    return {
        re.sub(r"(?<=[^s])s$", "", re.sub("ies$", "y", word)) for word in [*words, "".join(words)] if word
    }


def pointing_docstrings(modules: Modules) -> Iterator[str]:
    """Docstrings that send the reader elsewhere and say nothing."""
    for name, module in sorted(modules.items()):
        yield from (f"{name} {owner}" for owner, text in module.documented() if text.startswith("See "))


def long_classes(modules: Modules) -> Iterator[str]:
    """Classes over the limit without a reason in their docstring."""
    for name, module in sorted(modules.items()):
        for node in module.public_classes():
            length = (node.end_lineno or 0) - node.lineno + 1
            reason = f"longer than {LINES_MAX} lines" in (ast.get_docstring(node) or "")
            if length > LINES_MAX and not reason:
                yield f"{name} {node.name}"


RULES: dict[str, Callable[[Modules], Iterator[str]]] = {
    rule.__name__: rule
    for rule in (
        import_circles,
        folders_out_of_order,
        folders_in_circles,
        folders_without_a_place,
        repeated_classes,
        misnamed_files,
        pointing_docstrings,
        long_classes,
    )
}


@pytest.fixture(scope="module")
def tree() -> Modules:
    return {module.name: module for module in map(read, SOURCES)}


@pytest.mark.parametrize("rule", RULES)
def test_the_tree_keeps_the_rule(tree, rule):
    """The rule's docstring says what the listed modules and classes break."""
    faults = sorted(set(RULES[rule](tree)))
    assert not faults, "\n".join([RULES[rule].__doc__ or "", *faults])


LONG = "class Lengthy:\n" + "    x = 1\n" * LINES_MAX


@pytest.mark.parametrize(
    ("rule", "sources", "fault"),
    [
        ("import_circles", {"a": "from kraft import b", "b": "import kraft.a"}, "kraft.a"),
        ("import_circles", {"a": "from kraft.b import B", "b": "def f():\n    import kraft.a"}, "kraft.a"),
        (
            "import_circles",
            {"a.x": "from .y import Y", "a.y": "if TYPE_CHECKING:\n    from .x import X"},
            "kraft.a.x",
        ),
        (
            "folders_out_of_order",
            {"raft.membership.joint": "import kraft.raft.log.terms", "raft.log.terms": ""},
            "kraft.raft.membership.joint -> kraft.raft.log.terms",
        ),
        (
            "folders_out_of_order",
            {
                "raft.membership.joint": "import kraft.raft.loose",
                "raft.loose": "import kraft.raft.log.terms",
                "raft.log.terms": "",
            },
            "kraft.raft.membership.joint -> kraft.raft.log.terms",
        ),
        (
            "folders_in_circles",
            {"raft.log.log": "import kraft.raft.a", "raft.a": "from .log import terms", "raft.log.terms": ""},
            "kraft.raft.a",
        ),
        ("folders_without_a_place", {"raft.votes.vote": ""}, "kraft.raft.votes"),
        ("repeated_classes", {"a": "class Same: ...", "b": "class Same: ..."}, "Same"),
        ("misnamed_files", {"fetching": "class Fetcher: ..."}, "kraft.fetching"),
        ("pointing_docstrings", {"a": "def f():\n    'See `g`.'"}, "kraft.a f"),
        ("long_classes", {"a": LONG}, "kraft.a Lengthy"),
    ],
)
def test_each_rule_sees_its_breach(rule, sources, fault):
    """The checker is trusted only while it catches planted faults."""
    assert fault in list(RULES[rule](planted(sources)))


@pytest.mark.parametrize(
    ("rule", "sources"),
    [
        ("import_circles", {"a": "from kraft.b import B", "b": "", "c": "from kraft import a, b"}),
        (
            "folders_out_of_order",
            {"raft.log.log": "from ..membership import joint", "raft.membership.joint": ""},
        ),
        ("folders_in_circles", {"raft.log.log": "import kraft.raft.log.terms", "raft.log.terms": ""}),
        ("folders_without_a_place", {"raft.log.log": "", "raft.raft": ""}),
        ("repeated_classes", {"a": "class _Same: ...", "b": "class _Same: ..."}),
        ("misnamed_files", {"errors": "class Refused: ...", "sums": "def f(): ..."}),
        ("misnamed_files", {"entries": "class LogEntry: ...", "highwater": "class HighWater: ..."}),
        (
            "misnamed_files",
            {"messages": "class Vote: ...\nMessage = Vote", "chain": "class Cut(Exception): ..."},
        ),
        ("pointing_docstrings", {"a": "def f():\n    'Adds one; see `g`.'"}),
        ("long_classes", {"a": LONG.replace("x = 1", '"""Lengthy, longer than 300 lines: why."""', 1)}),
    ],
)
def test_what_is_allowed_passes(rule, sources):
    """The checker does not forbid the layout itself."""
    assert list(RULES[rule](planted(sources))) == []


def planted(sources: Mapping[str, str]) -> Modules:
    """Modules of `kraft` with this text."""
    return {f"kraft.{name}": parse(f"kraft.{name}", text) for name, text in sources.items()}
