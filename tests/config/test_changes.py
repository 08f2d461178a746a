"""What a file that was read again changes at once, and what it does not."""

import re
from dataclasses import fields
from pathlib import Path

from kraft.config import CHANGEABLE, Config, changes, parse

ONE = "node: {id: K1, data: /d}\n"


def read(text: str) -> Config:
    return parse(ONE + text, "test")


def test_the_same_file_changes_nothing() -> None:
    assert changes(read(""), read("")) == (read(""), (), ())


def test_what_may_change_is_taken_and_the_rest_is_named() -> None:
    new = read(
        "log: {level: debug, format: json}\nlimits: {connections: 5, key_bytes: 9}\n"
        "raft: {election_timeout: 1s}\n"
    )
    config, taken, need_restart = changes(read(""), new)

    assert config == read("log: {level: debug}\nlimits: {connections: 5}\n")
    assert taken == ("limits.connections", "log.level")
    assert need_restart == ("raft.election_timeout", "limits.key_bytes", "log.format")


def test_what_needs_a_restart_is_named_again() -> None:
    running, new = read(""), read("raft: {election_timeout: 1s}\n")
    assert changes(changes(running, new).config, new).need_restart == ("raft.election_timeout",)


def test_each_changeable_option_exists_and_is_documented() -> None:
    config = read("")
    known = {f"{s.name}.{o.name}" for s in fields(config) for o in fields(getattr(config, s.name))}
    page = Path(__file__).parents[2].joinpath("docs/configuration.md").read_text()
    paragraph = page.partition("## Changes while a node runs")[2].partition("\n## ")[0]

    assert known >= CHANGEABLE
    assert set(re.findall(r"`(\w+\.\w+)`", paragraph)) == CHANGEABLE
