"""The machine and the versions behind the figures, without anything that identifies the machine."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from typing import Any

import apsw

from bench.processes import ROOT, BenchError, environment
from kraft.process.python_build import python_build
from twisted import __version__ as twisted_version


def describe() -> dict[str, Any]:
    """Describe hardware, versions, time, the commit, and whether measured files differ from it."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short=12", "HEAD") or "unknown",
        "changed": bool(_git("status", "--porcelain", "--", "kraft", "bench", "twisted")),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9),
        "kernel": platform.release().split("-")[0],
        "python": str(python_build()),
        "twisted": twisted_version,
        "sqlite": apsw.sqlite_lib_version(),
    }


def python_of(interpreter: str) -> str:
    """How another interpreter was built. Raises BenchError if it cannot be asked."""
    command = [interpreter, "-m", "kraft.process.python_build"]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=20, check=False
        )
    except OSError as error:
        raise BenchError(f"{interpreter}: {error.strerror}") from error
    if not done.stdout.startswith("Python"):
        raise BenchError(f"{interpreter} does not run kraft: {done.stderr.strip()[-300:]}")
    return done.stdout.strip()


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
