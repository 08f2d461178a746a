"""Plants each mutation of the list separately, and reports the seed at which the simulator finds it.

    python -m tests.simulation.mutants                    # all of them, on two cores; prints the table
    python -m tests.simulation.mutants --only "orphans"   # mutations whose names contain this

The seed or the test that docs/simulation.md names for a mutation is tried first, then the seeds from 0, or
the whole file of the test.

An import hook plants a mutation in the memory of a separate process by changing the source of one module; the
files stay unchanged. A line that is not in the source, or is there twice, is an error: the list must follow
the code.
"""

import argparse
import importlib
import importlib.abc
import importlib.machinery
import inspect
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

from tests.simulation.mutation import Mutation
from tests.simulation.mutations import MUTATIONS

ROOT = Path(__file__).resolve().parents[2]
SECONDS_MAX = 1_500


class Planting(importlib.machinery.SourceFileLoader):
    """Loads one module with the mutation."""

    def __init__(self, fullname: str, path: str, mutation: Mutation) -> None:
        super().__init__(fullname, path)
        self._mutation = mutation

    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        return compile(mutated(self.get_data(path).decode(), self._mutation), path, "exec")


class Planter(importlib.abc.MetaPathFinder):
    """Finds the module to mutate."""

    def __init__(self, mutation: Mutation) -> None:
        self._mutation = mutation
        self._module = mutation.file.removesuffix(".py").replace("/", ".")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None:
            raise LookupError(f"there is no {self._mutation.file}")
        spec.loader = Planting(fullname, spec.origin, self._mutation)
        return spec


def mutated(source: str, mutation: Mutation) -> str:
    """The mutated source. Raises `LookupError` unless the line is there exactly once."""
    count = source.count(mutation.line)
    if count != 1:
        raise LookupError(f"{mutation.name}: its line is {count} times in {mutation.file}: {mutation.line}")
    return source.replace(mutation.line, mutation.mutated)


@contextmanager
def planted(mutation: Mutation) -> Iterator[None]:
    """Plant a mutation in the functions of a module that this process has imported, for a while.

    This saves a process of its own. It does not reach what the module computes while it is imported, nor
    functions without a name.
    """
    source = (ROOT / mutation.file).read_text()
    module = importlib.import_module(mutation.file.removesuffix(".py").replace("/", "."))
    sound, broken = (
        _functions(compile(text, mutation.file, "exec")) for text in (source, mutated(source, mutation))
    )
    replaced: list[tuple[FunctionType, CodeType]] = []
    for (name, code), (_, changed) in zip(sound, broken, strict=True):
        function = _function(module, name)
        if changed != code and function.__code__ == code:
            replaced.append((function, code))
            function.__code__ = changed
    try:
        if not replaced:
            raise LookupError(f"{mutation.name}: no function of {mutation.file} changes")
        yield
    finally:
        for function, code in replaced:
            function.__code__ = code


def _functions(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    """The functions and methods that a module or class defines, by their qualified names."""
    for each in code.co_consts:
        if isinstance(each, CodeType):
            if not each.co_flags & inspect.CO_OPTIMIZED:  # the body of a class
                yield from _functions(each)
            elif "<" not in each.co_qualname:
                yield each.co_qualname, each


def _function(module: ModuleType, name: str) -> FunctionType:
    found: Any = module
    for part in name.split("."):
        found = vars(found)[part]
    found = getattr(found, "fget", None) or getattr(found, "__func__", found)
    assert isinstance(found, FunctionType), name
    return found


class Failures:
    """A plugin of pytest that remembers the first test that fails."""

    def __init__(self) -> None:
        self.name = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called for each phase of each test."""
        if report.failed and not self.name:
            self.name = report.nodeid.partition("::")[2].partition("[")[0]


def failed_test(file: str, likely: str = "") -> str:
    """The name of the first test of `file` that fails in this process, "" if none does.

    The `likely` one, if it has a name, runs first; there need not be a test of that name any more.
    """
    failed = Failures()
    for tests in ([f"{file}::{likely}"] if likely else []) + [file]:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-n", "0", tests], plugins=[failed])
        if failed.name:
            break
    return failed.name


def documented() -> dict[str, list[int]]:
    """The seed that found each mutation last, by its name: the table in docs/simulation.md."""
    return {name: [int(seed)] for name, seed in _rows(r"seed (\d+)")}


def documented_tests() -> dict[str, str]:
    """The test that found each mutation last, by its name."""
    return dict(_rows(r"`(test_\w+)`"))


def _rows(found: str) -> list[tuple[str, str]]:
    page = (ROOT / "docs/simulation.md").read_text()
    return re.findall(rf"^\| (.+?) \| `[\w/]+\.py` \| {found} \|", page, re.MULTILINE)


def search(mutation: Mutation, seeds: Iterable[int]) -> dict[str, Any]:
    """Try seeds until one finds the mutation, which is planted, or its test."""
    if mutation.test:
        likely = documented_tests().get(mutation.name, "")
        return {"seed": None, "test": failed_test(mutation.test, likely)}
    from kraft.kv.errors import BrokenInvariant
    from kraft.peerwire.errors import WireError
    from kraft.raft.errors import InvariantViolation
    from kraft.storage.errors import StorageError

    run = runner(mutation.run)
    for seed in seeds:
        try:
            run(seed)
        except (AssertionError, InvariantViolation, BrokenInvariant, StorageError, WireError) as error:
            return {"seed": seed, "by": type(error).__name__, "what": str(error)}
    return {"seed": None}


def find(mutation: Mutation) -> dict[str, Any]:
    """As `searched`; the run that found the mutation must also succeed without it."""
    found = searched(mutation)
    if found["seed"] is not None and not _sound(mutation.run, found["seed"]):
        return {"seed": None, "error": f"seed {found['seed']} fails without it, too"}
    return found


def searched(mutation: Mutation) -> dict[str, Any]:
    """Search in a separate process; `error` has an error of another kind."""
    command = [sys.executable, "-m", "tests.simulation.mutants", "--search", mutation.name]
    try:
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired:
        return {"seed": None, "error": f"not within {SECONDS_MAX} seconds"}
    if ended.returncode:
        lines = [line for line in ended.stderr.splitlines() if line and not line.startswith("repeat it")]
        return {"seed": None, "error": lines[-1]}
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def runner(name: str) -> Callable[[int], object]:
    """The function that `Mutation.run` names."""
    module, _, function = name.partition(":")
    found: Callable[[int], object] = getattr(importlib.import_module(module), function or "run")
    return found


@cache
def _sound(name: str, seed: int) -> bool:
    program = f"from tests.simulation.mutants import runner; runner({name!r})({seed})"
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0


def row(mutation: Mutation, found: dict[str, Any]) -> str:
    """One line of the table in docs/simulation.md."""
    where = mutation.file.removeprefix("kraft/")
    if found.get("test"):
        return f"| {mutation.name} | `{where}` | `{found['test']}` | |"
    if found["seed"] is None:
        result = found.get("error", f"**not found within {mutation.seeds} seeds**")
        return f"| {mutation.name} | `{where}` | {result} | |"
    return f"| {mutation.name} | `{where}` | seed {found['seed']} | {short(found['what'])} |"


def short(text: str) -> str:
    """A text shortened for a table."""
    line = " ".join(text.replace("|", "/").split())
    return line if len(line) <= 90 else line[:87] + "..."


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants")
    parser.add_argument("--only", default="", help="only mutations whose names contain this")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--search", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.search:
        chosen = next(m for m in MUTATIONS if m.name == options.search)
        sys.meta_path.insert(0, Planter(chosen))
        seeds = dict.fromkeys([*documented().get(chosen.name, ()), *range(chosen.seeds)])
        sys.stdout.write(json.dumps(search(chosen, seeds)) + "\n")
        return 0
    chosen_ones = [m for m in MUTATIONS if options.only in m.name]
    missed = 0
    sys.stdout.write("| mutation | in | found at | by |\n| --- | --- | --- | --- |\n")
    with ThreadPoolExecutor(options.jobs) as pool:
        for mutation, found in zip(chosen_ones, pool.map(find, chosen_ones), strict=True):
            missed += found["seed"] is None and not found.get("test")
            sys.stdout.write(row(mutation, found) + "\n")
            sys.stdout.flush()
    sys.stdout.write(f"\n{len(chosen_ones)} mutations, {missed} not found\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
