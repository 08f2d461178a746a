"""Completion scripts and man pages, which are made from the parser."""

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from kraft.cli.main import build_parser, main

ROOT = Path(__file__).parents[2]


def subcommands():
    return next(
        action.choices for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert [name for name in subcommands() if name not in script] == []
    assert "--no-follow" in script or "no-follow" in script


def test_bash_completes(need, tmp_path, capsys):
    """bash itself: the command that begins so, and an option of it."""
    main(["completion", "bash"])
    file = tmp_path / "kraft"
    file.write_text(capsys.readouterr().out)
    for words, completed in ((["kraft", "mem"], "members"), (["kraft", "members", "--js"], "--json")):
        listed = " ".join(words)
        script = (
            f"source {file}; COMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}; COMP_LINE='{listed}';"
            f' _shtab_kraft kraft {words[-1]} {words[-2]}; echo "${{COMPREPLY[@]}}"'
        )
        done = subprocess.run([need("bash"), "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.split() == [completed]


def test_without_shtab_the_remedy_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 1
    assert capsys.readouterr().err == "kraft: completion needs shtab: pip install shtab\n"


def test_every_command_has_a_man_page(tmp_path):
    """With its options, its examples and its exit status; no line of it is taken for a macro."""
    subprocess.run([sys.executable, ROOT / "tools" / "man_pages.py", tmp_path], check=True, cwd=ROOT)
    assert {path.name for path in tmp_path.iterdir()} == {
        "kraft.1",
        *(f"kraft-{name}.1" for name in subcommands()),
    }
    macros = (".TH", ".SH", ".TP", ".PP", ".nf", ".fi")
    for path in tmp_path.iterdir():
        text = path.read_text()
        assert [
            line for line in text.splitlines() if line.startswith((".", "'")) and line[:3] not in macros
        ] == []
        assert "exit status:" in text
    assert "\\-\\-no\\-follow" in (tmp_path / "kraft-shell.1").read_text()
    assert "\\fBkraft\\-shell\\fR(1)" in (tmp_path / "kraft.1").read_text()
