"""The real programs, given words that they do not know: a line that names the next step, and a status."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.harness import TWISTD

pytestmark = pytest.mark.slow

KRAFT = Path(sys.executable).with_name("kraft")
SECONDS = 60.0


def run(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=SECONDS)


def test_kraft_alone_lists_its_commands():
    done = run(KRAFT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\n    status " in done.stdout
    assert "examples:" in done.stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["statsu"], "kraft: error: there is no command 'statsu'; did you mean 'status'?"),
        (["status", "--jsno"], "kraft status: error: there is no option --jsno; did you mean '--json'?"),
        (
            ["demo", "statsu"],
            "kraft demo: error: 'statsu' is one word too many; did you mean 'kraft status'?",
        ),
    ],
)
def test_kraft_names_what_was_meant(words, line):
    done = run(KRAFT, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == line


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--confg", "kraft.yaml"], "option --confg not recognized; did you mean --config?"),
        (["kraft.yaml"], "'kraft.yaml' belongs to no option; the configuration follows --config"),
    ],
)
def test_twistd_names_what_was_meant(words, line, tmp_path):
    done = subprocess.run(
        [TWISTD, "-n", "kraft", *words], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 1
    assert (done.stdout + done.stderr).rstrip().endswith(line)
    assert "Traceback" not in done.stdout + done.stderr
