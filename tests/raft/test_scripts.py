"""Plays the golden scripts of `data/`, one test for each; with `--rewrite` it writes their traces anew."""

import difflib
import re
from pathlib import Path

import pytest

from tests.raft.script_commands import COMMANDS
from tests.raft.scripts import RULE, paragraphs, play
from tests.raft.stage import ScriptError

DATA = Path(__file__).parent / "data"
PAGE = Path(__file__).parent.parent.parent / "docs" / "scripts.md"
SCRIPTS = sorted(DATA.glob("*.txt"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_conversation_is_as_told(script, request):
    told = script.read_text()
    played = play(told)
    if request.config.getoption("--rewrite"):
        script.write_text(played)
        return
    changed = difflib.unified_diff(
        told.split("\n"), played.split("\n"), str(script.name), "played now", lineterm=""
    )
    assert played == told, "\n".join(["", *changed])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_opens_and_is_explained_in_prose(script):
    parts = paragraphs(script.read_text())
    assert isinstance(parts[0], str)
    assert parts[0].startswith("# ")
    assert isinstance(parts[1], str)


def test_playing_twice_leaves_the_same_trace():
    told = SCRIPTS[0].read_text()
    assert play(told) == play(told)


def test_prose_stays_and_traces_are_replaced():
    told = f"# Two\n\nSome prose.\nMore.\n\nnodes K1\nstatus\n{RULE}\nwrong\n\nThe end.\n"
    played = play(told)
    assert played.startswith(told.partition("wrong")[0] + "K1 is follower of nobody")
    assert played.endswith("\n\nThe end.\n")
    assert "wrong" not in played
    assert play(played) == played


@pytest.mark.parametrize(
    "command",
    [
        "nod K1",
        "status K7",
        "nodes K4 size=3",
        "deliver",
        "deliver K1->K2 Vote",
        "disk K1 finish",
        "disk K1 quick",
        "restart K1",
        "campaign",
        "tick soon",
        "reconfigure K1 improve K2",
    ],
)
def test_a_command_that_cannot_be_carried_out_is_named_with_its_line(command):
    with pytest.raises(ScriptError, match=f"^line 4: {re.escape(command)}: "):
        play(f"# Wrong\n\nnodes K1 K2 K3\n{command}\n{RULE}\n")


def test_what_is_sent_to_a_node_that_is_down_is_lost():
    played = play(f"# Down\n\nnodes K1 K2\nquietly crash K2\ncampaign K1\n{RULE}\n")
    assert "K1 -> K2 PreVote term=2 log=1/1 (lost)" in played


def test_the_page_has_every_command_and_every_script():
    page = PAGE.read_text()
    assert [c for c in COMMANDS if not re.search(rf"^\| `{c}\b", page, re.MULTILINE)] == []
    assert [s.stem for s in SCRIPTS if f"`{s.stem}`" not in page] == []
