"""The documents against the tree: links lead somewhere, commands and examples are those of the code."""

import re
from pathlib import Path

import pytest

from kraft import config
from kraft.server.commands.table import TABLE

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
FAMILIES = ("CLIENT", "COMMAND", "CONFIG", "CLUSTER", "KRAFT")


def commands_page() -> str:
    page = (ROOT / "docs/client-protocol.md").read_text()
    return page.partition("## Commands")[2].partition("## Errors")[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_can_be_found_from_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"(docs/{page.name})" not in readme] == []


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
