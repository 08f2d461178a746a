"""The wheel is complete and typed, and twistd finds its plugin."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from kraft import __version__

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = Path(sysconfig.get_path("scripts"))


@pytest.fixture(scope="module")
def names_in_wheel(tmp_path_factory):
    """The file names inside a wheel built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [wheel] = folder.glob("kraft-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_the_package(names_in_wheel):
    """The wheel has all files of kraft/ (code, type marker, SQL schema) and no others."""
    wanted = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "kraft").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = {name for name in names_in_wheel if ".dist-info/" not in name}
    assert held == wanted | {"twisted/plugins/kraft_plugin.py"}
    assert "kraft/py.typed" in held
    assert any(name.startswith("kraft/storage/schema/") and name.endswith(".sql") for name in held)


def test_the_wheel_names_version_licence_and_command(names_in_wheel):
    """The wheel has the version of kraft/__init__.py."""
    info = f"kraft-{__version__}.dist-info"
    assert {f"{info}/METADATA", f"{info}/entry_points.txt", f"{info}/licenses/LICENSE"} <= names_in_wheel


def test_twistd_lists_kraft_from_any_folder(tmp_path):
    """twistd finds the installed plugin, from an editable installation or a wheel."""
    listed = subprocess.run(
        [SCRIPTS / "twistd", "--help"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    assert any(line.split()[:1] == ["kraft"] for line in listed.splitlines())


def test_the_plugin_imports_nothing_of_kraft(tmp_path):
    """Listing plugins is cheap and works even when kraft itself is broken."""
    code = "import sys, twisted.plugins.kraft_plugin; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert [name for name in run.stdout.split() if name.split(".")[0] == "kraft"] == []


def test_the_command_tells_its_version(tmp_path):
    """`kraft --version` is the installed script."""
    run = subprocess.run(
        [SCRIPTS / "kraft", "--version"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert run.stdout == f"kraft {__version__}\n"
