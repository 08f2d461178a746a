"""The syntax of commands as text, and the arguments that COMMAND DOCS shows for it."""

import pytest

from kraft.server.commands.command import all_specs
from kraft.server.commands.syntax import Argument, Syntax
from kraft.server.commands.table import TABLE, UNLISTED

# They take more words than they name, and one has forms of different lengths.
IRREGULAR = ("quit", "exit", "raft-add-node", "kraft|move")


def arguments(text: str, *, kinds: int = 1) -> list[Argument]:
    return Syntax(text, kinds=kinds).arguments()


def test_values_have_the_type_that_their_name_says() -> None:
    assert [(each.name, each.type) for each in arguments("key offset value pattern unix-time-seconds")] == [
        ("key", "key"), ("offset", "integer"), ("value", "string"), ("pattern", "pattern"),
        ("unix-time-seconds", "unix-time"),
    ]  # fmt: skip
    assert arguments("key", kinds=0) == [Argument("key", "string")]


def test_words_in_capitals_are_sent_as_they_stand() -> None:
    assert arguments("ON") == [Argument("on", "pure-token", "ON")]
    assert arguments("[EX seconds]") == [Argument("seconds", "integer", "EX", ("optional",))]
    [auth] = arguments("[AUTH username password]")
    assert (auth.type, auth.token, [part.name for part in auth.parts]) == (
        "block",
        "AUTH",
        ["username", "password"],
    )
    assert [each.token for each in arguments("id [LEARNER] [FORCE]")] == ["", "LEARNER", "FORCE"]
    assert [each.token for each in arguments("[LEARNER] [FORCE]")] == ["LEARNER", "FORCE"]
    slots, dry = arguments("SLOTS [DRYRUN]")
    assert (slots.token, slots.flags, dry.token, dry.flags) == ("SLOTS", (), "DRYRUN", ("optional",))


def test_alternatives() -> None:
    [choice] = arguments("[NX|EX seconds]")
    assert (choice.type, choice.flags) == ("oneof", ("optional",))
    assert [(part.type, part.token) for part in choice.parts] == [("pure-token", "NX"), ("integer", "EX")]
    assert arguments("ON|OFF") == arguments("<ON | OFF>")


def test_repetition() -> None:
    """`key [key ...]` is at least one, `[key ...]` any number, also of several words at a time."""
    assert arguments("key [key ...]") == [Argument("key", "key", flags=("multiple",))]
    assert arguments("[key ...]") == [Argument("key", "key", flags=("optional", "multiple"))]
    [pairs] = arguments("key value [key value ...]")
    assert (pairs.type, pairs.flags, len(pairs.parts)) == ("block", ("multiple",), 2)
    [ids] = arguments("[ID client-id [client-id ...]]")
    assert (ids.token, ids.flags) == ("ID", ("optional", "multiple"))


@pytest.mark.parametrize("text", ["[key", "key]", "<a|b", "key ...", "[a>"])
def test_what_is_no_syntax(text: str) -> None:
    with pytest.raises(ValueError, match=r"closes nothing|is missing"):
        arguments(text)


@pytest.mark.parametrize("spec", [*all_specs(TABLE), *all_specs(UNLISTED)], ids=lambda spec: spec.name)
def test_the_syntax_of_every_command_agrees_with_its_arity_and_keys(spec) -> None:
    """The fewest words are those of the arity, and a command with keys names them.

    QUIT ignores words, as in Redis; `host raft-port` may be one word.
    """
    found = arguments(spec.usage, kinds=len(spec.key_flags))
    words = len(spec.name.split("|")) - sum(each.name == "raft-port" for each in found)
    fewest = words + sum(_fewest(each) for each in found)
    if spec not in UNLISTED.values() and not spec.subcommands:
        assert fewest == spec.low
        assert (spec.arity < 0) == any(_open(each) for each in found) or spec.name in IRREGULAR
        kinds = {each.key_kind for each in _flat(found) if each.type == "key"}
        assert kinds == set(range(len(spec.key_flags)))
        assert bool(spec.key_flags) == bool(spec.keys[0] or spec.counted[0])


def _fewest(argument: Argument) -> int:
    if "optional" in argument.flags:
        return 0
    own = 1 if argument.token and argument.type != "pure-token" else 0
    if argument.type == "oneof":
        return own + max(1, min(_fewest(part) for part in argument.parts))
    return own + (sum(_fewest(part) for part in argument.parts) if argument.type == "block" else 1)


def _open(argument: Argument) -> bool:
    return bool({"optional", "multiple"} & set(argument.flags)) or any(_open(part) for part in argument.parts)


def _flat(found: list[Argument]) -> list[Argument]:
    return [each for argument in found for each in (argument, *_flat(list(argument.parts)))]
