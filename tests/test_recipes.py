"""The recipes in CONTRIBUTING.md compared with the code: files and names exist, and no file is left out."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.source import ROOT, SOURCES

PATH = re.compile(r"`((?:kraft|tests|docs)/[\w./]+)`")
NAME = re.compile(r"`([A-Za-z_]\w*(?:\.\w+)?)`")
FREE = {"docs/metrics.md", "tests/telemetry/test_docs.py", "tests/config/test_docs.py"}  # compared as a whole


@dataclass(frozen=True)
class Recipe:
    """`example` are the words of the sample; `steps` are the numbered paragraphs."""

    title: str
    example: tuple[str, ...]
    steps: tuple[str, ...]

    @property
    def files(self) -> list[str]:
        """Every file that a step names, in order."""
        return [path for step in self.steps for path in PATH.findall(step)]


def recipes(page: str) -> list[Recipe]:
    """The recipes of the page."""
    found = []
    for section in page.partition("## Recipes")[2].partition("\n## ")[0].split("\n### ")[1:]:
        title, _, body = section.partition("\n")
        example, *rest = re.split(r"\n\d+\. ", body)
        steps = [re.split(r"\n\n", step)[0] for step in rest]
        found.append(Recipe(title, tuple(NAME.findall(example.partition("of the section")[0])), tuple(steps)))
    return found


RECIPES = recipes((ROOT / "CONTRIBUTING.md").read_text())


def mentions(path: Path, words: tuple[str, ...]) -> bool:
    """Whether a file has one of the words."""
    return re.search(rf"\b(?:{'|'.join(words)})\b", path.read_text()) is not None


def test_there_are_recipes():
    titles = [recipe.title for recipe in RECIPES]
    assert titles == [
        f"Add a{name}" for name in (" command", " Raft message", " peer message", " metric", "n option")
    ]
    assert all(recipe.example and recipe.steps for recipe in RECIPES)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.title)
def test_a_recipe_names_every_file_of_its_example(recipe):
    """A file of kraft mentions the example exactly if the recipe has it."""
    named = {path for path in recipe.files if path.startswith("kraft/")}
    using = {str(path.relative_to(ROOT)) for path in SOURCES if mentions(path, recipe.example)}
    assert named == using


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.title)
def test_a_recipe_names_tests_and_pages_of_its_example(recipe):
    """They show what to write for another one."""
    others = [path for path in recipe.files if not path.startswith("kraft/") and path not in FREE]
    assert others
    assert [path for path in others if not mentions(ROOT / path, (*recipe.example, "GETDEL"))] == []


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.title)
def test_a_recipe_names_what_is_in_its_files(recipe):
    """Each name in a step is in one of the files that the step begins with."""
    for step in recipe.steps:
        text = "".join((ROOT / path).read_text() for path in PATH.findall(step))
        for name in NAME.findall(step):
            assert re.search(rf"\b{name.rpartition('.')[2]}\b", text), f"{name}: {step}"
