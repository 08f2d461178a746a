"""How an interpreter was built, and which one `make` takes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kraft.process.python_build import DEBUG, OPTIMISED, PLAIN, judged, python_build

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("variables", "packaged", "kind", "sign"),
    [
        ({"CONFIG_ARGS": "'--enable-optimizations' '--with-lto'"}, False, OPTIMISED, "--with-lto"),
        ({"CONFIG_ARGS": "'--enable-shared' '--with-lto=thin'"}, False, OPTIMISED, "--with-lto"),
        ({"PY_CORE_CFLAGS": "-O3 -flto=auto -fPIC"}, False, OPTIMISED, "-flto"),
        ({"CONFIG_ARGS": "'--prefix=/usr' '--enable-shared'"}, True, OPTIMISED, "Debian"),
        ({"CONFIG_ARGS": "'--enable-shared' 'LDFLAGS=-L/lib'"}, False, PLAIN, "without"),
        ({"CONFIG_ARGS": "'--with-lto=no'"}, False, PLAIN, "without"),
        ({"CONFIG_ARGS": None}, False, PLAIN, "without"),
        ({"Py_DEBUG": 1, "CONFIG_ARGS": "'--enable-optimizations'"}, True, DEBUG, "Py_DEBUG"),
    ],
)
def test_the_kind_of_a_build(variables, packaged, kind, sign):
    found = judged(variables, packaged=packaged)
    assert (found[0], sign in found[1]) == (kind, True)


def test_a_program_says_how_its_interpreter_was_built():
    """Status 0 means optimised, so that a shell can ask."""
    build = python_build()
    command = [sys.executable, "-m", "kraft.process.python_build"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.returncode) == (f"{build}\n", build.kind != OPTIMISED)


# -- tools/find-python --------------------------------------------------------------------------------


@pytest.fixture
def interpreter(tmp_path: Path):
    """`interpreter(folder, usable=..., optimised=...)`: a stand-in named python3; returns its path."""

    def make(folder: str, *, usable: bool = True, optimised: bool = False) -> Path:
        path = tmp_path / folder / "python3"
        path.parent.mkdir()
        path.write_text(
            "#!/bin/sh\n"
            f'case "$*" in "-m kraft.process.python_build") exit {int(not optimised)};;'
            f" -c*) exit {int(not usable)};; *) exit 9;; esac\n"
        )
        path.chmod(0o755)
        return path

    return make


def find_python(*arguments: str, first: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([*(str(each.parent) for each in first), os.environ["PATH"]])
    return subprocess.run(
        ["sh", str(ROOT / "tools/find-python"), *arguments],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_optimised_interpreter_later_in_the_path_is_preferred(interpreter):
    plain, broken = interpreter("plain"), interpreter("broken", usable=False, optimised=True)
    fast = interpreter("fast", optimised=True)
    found = find_python(first=(plain, broken, fast))
    assert (found.stdout, found.stderr, found.returncode) == (f"{fast}\n", "", 0)


def test_the_named_interpreter_is_taken_and_said_to_be_plain(interpreter):
    plain = interpreter("plain")
    found = find_python(str(plain), first=(interpreter("fast", optimised=True),))
    assert (found.stdout, found.returncode) == (f"{plain}\n", 0)
    assert f"{plain} is a plain build" in found.stderr


def test_an_interpreter_that_cannot_be_used_is_refused(interpreter):
    broken = interpreter("broken", usable=False)
    found = find_python(str(broken))
    assert (found.stdout, found.returncode) == ("", 1)
    assert "apt-get install python3 python3-venv" in found.stderr


def test_an_interpreter_of_this_machine_is_found():
    """The one that is printed starts, is new enough, and makes virtual environments."""
    found = find_python()
    assert found.returncode == 0, found.stderr
    asked = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
    assert subprocess.run([found.stdout.strip(), "-c", asked], timeout=30, check=False).returncode == 0
