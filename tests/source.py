"""The source of kraft as data: modules, their imports, classes and docstrings, for the tests of structure."""

import ast
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "kraft").rglob("*.py"))


@dataclass(frozen=True)
class Module:
    """One module: its dotted name, whether it is a package's `__init__`, and its syntax tree."""

    name: str
    package: bool
    tree: ast.Module

    @property
    def stem(self) -> str:
        """The name of the file, without its folder."""
        return self.name.rpartition(".")[2]

    def imports(self) -> Iterator[tuple[int, str]]:
        """(line, dotted name) of everything it imports, also inside functions and under TYPE_CHECKING.

        `from a import b` gives `a.b`, whether b is a module or a name in one.
        """
        home = self.name if self.package else self.name.rpartition(".")[0]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    up = home.rsplit(".", node.level - 1)[0] if node.level > 1 else home
                    base = f"{up}.{base}" if base else up
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)

    def classes(self) -> list[ast.ClassDef]:
        """All classes, wherever they are defined."""
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef)]

    def public_classes(self) -> list[ast.ClassDef]:
        """The classes of its top level whose names begin with a letter."""
        classes = (node for node in self.tree.body if isinstance(node, ast.ClassDef))
        return [node for node in classes if not node.name.startswith("_")]

    def aliases(self) -> list[str]:
        """The type aliases of its top level: CamelCase names that a value is assigned to."""
        names = [
            target.id
            for node in self.tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        ]
        return [name for name in names if name[0].isupper() and not name.isupper()]

    def documented(self) -> Iterator[tuple[str, str]]:
        """(name, docstring) of the module, its classes and its functions, where there is one."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text is not None:
                    yield getattr(node, "name", self.name), text


def parse(name: str, text: str, *, package: bool = False) -> Module:
    """A module of this name and text."""
    return Module(name, package, ast.parse(text))


def name_of(path: Path) -> str:
    """The dotted name of a file of the checkout."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def read(path: Path) -> Module:
    """A module of the checkout, parsed once."""
    return parse(name_of(path), path.read_text(), package=path.name == "__init__.py")


def edges(modules: Mapping[str, Module]) -> dict[str, set[str]]:
    """Which of `modules` each of them imports. A package counts only where its own name is imported."""
    found: dict[str, set[str]] = {name: set() for name in modules}
    for name, module in modules.items():
        for _, imported in module.imports():
            target = imported if imported in modules else imported.rpartition(".")[0]
            if target in modules and target != name:
                found[name].add(target)
    return found


def circles(graph: Mapping[str, Set[str]]) -> list[list[str]]:
    """The groups of nodes that reach one another (Tarjan's strongly connected components of two or more)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph[node]):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            start = stack.index(node)
            circle = sorted(stack[start:])
            del stack[start:]
            if len(circle) > 1:
                found.append(circle)

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found
