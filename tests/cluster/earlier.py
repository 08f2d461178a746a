"""The earlier release that upgrades start from: its wheel, built from the history of this clone.

`earlier_release` names the commit. The wheel is built and installed without a network, into a folder of its
own, and runs with the libraries of this environment.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMIT = (Path(__file__).parent / "earlier_release").read_text().strip()


class NotInHistory(Exception):
    """This clone does not have the commit, or is no clone; the argument says what is missing."""


def install_earlier(folder: Path) -> Path:
    """Build the wheel of `COMMIT` and install it below `folder`. Returns what `PYTHONPATH` has to name."""
    source, wheels, library = folder / "source", folder / "wheels", folder / "library"
    source.mkdir(parents=True)
    subprocess.run(["tar", "-x", "-C", source], input=_archive(), check=True, timeout=300)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(wheels), str(source))
    [wheel] = wheels.glob("kraft-*.whl")
    _run(*pip, "install", "--no-deps", "--no-index", "--no-compile", "--target", str(library), str(wheel))
    return library


def _archive() -> bytes:
    try:
        return _run("git", "archive", "--format=tar", COMMIT)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"").decode(errors="replace").strip()
        raise NotInHistory(f"commit {COMMIT[:12]} in the history of this clone: {said or error}") from error


def _run(*command: str) -> bytes:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300).stdout
