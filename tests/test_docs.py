"""The documents against the tree: links lead somewhere, commands and examples are those of the code."""

import argparse
import ast
import re
from functools import cache
from pathlib import Path

import pytest

from kraft import config
from kraft.cli.main import build_parser
from kraft.config.loader import options, sections
from kraft.server.commands.table import TABLE
from kraft.telemetry.metrics.declarations import PREFIX
from kraft.telemetry.metrics.registry import DECLARATIONS
from tests.source import ROOT, SOURCES, read

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
PRESENT = [page for page in PAGES if page.name != "CHANGELOG.md"]  # that tells of the past
FOLDERS = [
    ROOT / name for name in ("", "kraft", "tests", "tests/cluster", "monitoring")
]  # where a page's paths begin
FAMILIES = ("CLIENT", "COMMAND", "CONFIG", "CLUSTER", "KRAFT", "MEMORY", "OBJECT")


def commands_page() -> str:
    page = (ROOT / "docs/client-protocol.md").read_text()
    return page.partition("## Commands")[2].partition("## Errors")[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@cache
def anchors(page: Path) -> set[str]:
    """What a link may have after its #: the headings of the page, as GitHub writes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_headings(page):
    links = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text())
    targets = [(page.parent / path if path else page, anchor) for path, anchor in links]
    assert [(path.name, anchor) for path, anchor in targets if anchor not in anchors(path)] == []


def test_headings_named_in_the_code_exist():
    """Findings and errors name a place such as `docs/runbooks.md#kraftslotfrozen`."""
    files = [*SOURCES, *ROOT.glob("monitoring/**/*.yml")]
    named = {
        found for file in files for found in re.findall(r"\b(docs/[\w/-]+\.md)#([\w-]+)", file.read_text())
    }
    assert len(named) > 40
    assert [f"{path}#{anchor}" for path, anchor in named if anchor not in anchors(ROOT / path)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_a_page_exist(page):
    """A file that moves takes its name in the documents along."""
    if page.name == "CHANGELOG.md":
        return  # it tells of the past
    named = re.findall(
        r"`([\w./-]+\.(?:py|sql)|(?:kraft|tests|bench|docs|deploy|monitoring)/[\w./-]*)`", page.read_text()
    )
    assert [name for name in named if not any((folder / name).exists() for folder in FOLDERS)] == []


def members_of(class_: ast.ClassDef) -> set[str]:
    """The methods and fields of a class, and the attributes that its methods set."""
    methods = {node.name for node in ast.walk(class_) if isinstance(node, ast.FunctionDef)}
    names = (node for node in ast.walk(class_) if isinstance(node, ast.Name | ast.Attribute))
    set_ = (node for node in names if isinstance(node.ctx, ast.Store))
    return methods.union(node.id if isinstance(node, ast.Name) else node.attr for node in set_)


def test_methods_named_in_a_page_exist():
    """`Class.method` in the map and on the design pages; a method that is renamed takes its name along."""
    members: dict[str, set[str]] = {}
    for module in map(read, SOURCES):
        for class_ in module.classes():
            members.setdefault(class_.name, set()).update(members_of(class_))
    pages = [ROOT / "docs/architecture.md", *ROOT.glob("docs/design/*.md")]
    named = {
        f"{class_}.{member}": member in members.get(class_, ())
        for page in pages
        for class_, member in re.findall(r"`([A-Z][a-z]\w*)\.(\w+)`", page.read_text())
    }
    assert len(named) > 50
    assert [name for name, exists in named.items() if not exists] == []


@cache
def others_with_prefix() -> set[str]:
    """Names that begin as those of metrics do: of modules, fields of INFO, and tests."""
    code = "".join(path.read_text() for path in (*SOURCES, *ROOT.glob("tests/**/test_*.py")))
    return set(re.findall(rf"(?:\b|def test_)({PREFIX}\w+)", code))


@pytest.mark.parametrize("page", PRESENT, ids=lambda page: page.name)
def test_options_and_metrics_named_in_a_page_exist(page):
    text = page.read_text()
    known = {f"{name}.{option.name}" for name, section in sections() for option, _ in options(section)}
    names = "|".join(name for name, _ in sections())
    assert set(re.findall(rf"`((?:{names})\.\w+)[`:]", text)) - known - {"log.db"} == set()
    metrics = {PREFIX + declaration.name for declaration in DECLARATIONS}
    named = set(re.findall(rf"`({PREFIX}\w*[a-z])(?:_bucket|_sum|_count)?[`{{\[]", text))
    assert named - metrics - others_with_prefix() == set()


def test_alerts_named_in_a_page_exist():
    alerts = set(re.findall(r"alert: (\w+)", (ROOT / "monitoring/prometheus/kraft.rules.yml").read_text()))
    named = {name for page in PRESENT for name in re.findall(r"\bKraft[A-Z]\w+", page.read_text())}
    assert len(alerts) > 40
    assert named - alerts == set()


def arguments(parser: argparse.ArgumentParser) -> set[str]:
    """All options of a command."""
    return {name for action in parser._actions for name in action.option_strings}


@pytest.mark.parametrize("page", PRESENT, ids=lambda page: page.name)
def test_commands_named_in_a_page_exist(page):
    """`kraft add`, its options, and `KRAFT ADD` or, in lower case at the prompt of a client, `kraft add`."""
    parser = build_parser()
    parser.declare_all()
    administration = {name.decode() for name in TABLE[b"KRAFT"].subcommands}
    text = page.read_text()
    assert set(re.findall(r"\bKRAFT ([A-Z]{2,})\b", text)) - administration == set()
    unknown = []
    for command, rest in re.findall(r"`kraft ([a-z][a-z-]+)([^`]*)`", text):
        if command in parser.commands:
            named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", rest))
            unknown += [f"{command} {option}" for option in named - arguments(parser.commands[command])]
        elif command.upper() not in administration:
            unknown.append(command)
    assert unknown == []


def test_the_map_names_every_file():
    """The tables of docs/architecture.md list each directory of kraft with all its files."""
    page = (ROOT / "docs/architecture.md").read_text().partition("## The files")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(kraft/[\w/]*)` \| (.+) \|$", page, re.MULTILINE)
    listed = {f"{folder}{name}.py" for folder, files in rows for name in re.findall(r"`(\w+)`", files)}
    there = {
        str(path.relative_to(ROOT)) for path in (ROOT / "kraft").rglob("*.py") if path.stem != "__init__"
    }
    assert sorted(there - listed) == [], "files that the page does not list"
    assert sorted(listed - there) == [], "files that do not exist"


def test_scripts_named_among_the_promises_exist():
    """Golden scripts are named without folder and ending; `joint_*` stands for several."""
    table = (ROOT / "docs/promises.md").read_text().partition("## How it is checked")[2]
    named = [row.split("|")[3] for row in table.splitlines() if row.startswith("| ")][2:]
    scripts = [script for cell in named for script in re.findall(r"`([\w*]+)`", cell)]
    assert scripts
    assert [name for name in scripts if not list((ROOT / "tests/raft/data").glob(f"{name}.txt"))] == []


@pytest.mark.parametrize(
    ("page", "heading"),
    [("docs/scripts.md", "## Traps outside the core"), ("docs/design/field-faults.md", "## The faults")],
)
def test_tests_named_in_a_page_exist(page, heading):
    """`folder/test_file.py`, then names of tests in it, without their `test_`; not in bold lines."""
    text = re.sub(r"^\*\*.*", "", (ROOT / page).read_text().partition(heading)[2], flags=re.MULTILINE)
    missing, named, file = [], 0, ""
    for word in re.findall(r"`([\w/]+(?:\.py)?)`", text):
        named += 1
        if word.endswith(".py"):
            file = word
            missing += [] if (ROOT / "tests" / file).exists() else [file]
        elif f"def test_{word}(" not in (ROOT / "tests" / file).read_text():
            missing.append(f"{file}: {word}")
    assert named > 10
    assert missing == []


def test_every_page_can_be_found_from_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"(docs/{page.name})" not in readme] == []


def test_every_design_page_can_be_found_from_its_index():
    index = ROOT / "docs/design/README.md"
    pages = [page.name for page in index.parent.glob("*.md") if page != index]
    assert [name for name in pages if f"({name})" not in index.read_text()] == []


def test_every_command_has_its_word():
    words = set(re.findall(r"[\w-]+", commands_page().lower()))
    assert {name.decode().lower() for name in TABLE} - words == set()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_subcommand_has_its_word(family):
    words = set(re.findall(r"[\w-]+", commands_page().upper()))
    subcommands = {name.decode().upper() for name in TABLE[family.encode()].subcommands}
    assert subcommands - words - {"HELP"} == set()


def test_the_readme_shows_a_usable_configuration(tmp_path):
    example = re.search(r"^    node:\n(?:    .*\n)+", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert example is not None
    path = tmp_path / "kraft.yaml"
    path.write_text(re.sub("^    ", "", example[0], flags=re.MULTILINE))
    node = config.load(str(path))
    assert (node.node.id, list(dict(node.cluster.members))) == ("K1", ["K1", "K2", "K3"])
