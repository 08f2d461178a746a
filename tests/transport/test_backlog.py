"""Which connection in handshake gives way to a new one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from twisted.internet.task import Clock

from kraft.transport.backlog import Backlog, Standing
from kraft.transport.limits import LinkLimits

LIMITS = LinkLimits(greeting_links=6, stranger_links=4, address_links=2)
MEMBER, SHARED = "10.0.0.1", "10.0.0.2"


@dataclass(eq=False)
class Connection:
    standing: Standing = Standing.SILENT
    reasons: list[str] = field(default_factory=list)

    def abort(self, reason: str) -> None:
        self.reasons.append(reason)

    @property
    def gave_way(self) -> bool:
        return bool(self.reasons)


class Members:
    def is_member_at(self, ip: str) -> bool:
        return ip in (MEMBER, SHARED)


class Scene:
    """A backlog, and every connection that was ever added to it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.backlog = Backlog(LIMITS, Members(), self.clock)

    def add(self, ip: str, standing: Standing = Standing.SILENT) -> Connection:
        connection = Connection(standing)
        self.backlog.add(connection, ip)
        self.clock.advance(0)
        return connection

    def strangers(self, count: int, standing: Standing = Standing.SILENT) -> list[Connection]:
        return [self.add(f"192.0.2.{number}", standing) for number in range(count)]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_silent_strangers_give_way_the_oldest_first(scene: Scene) -> None:
    strangers = scene.strangers(LIMITS.stranger_links + 3)

    assert [each.gave_way for each in strangers] == [True] * 3 + [False] * LIMITS.stranger_links
    assert len(list(scene.backlog)) == LIMITS.stranger_links


def test_a_stranger_that_greets_stays_longer_than_a_silent_one(scene: Scene) -> None:
    greeted = scene.add("192.0.2.99", Standing.GREETED)
    silent = scene.strangers(20)
    assert not greeted.gave_way
    for each in silent:
        each.standing = Standing.GREETED

    scene.add("192.0.2.100")

    assert greeted.gave_way


def test_a_connection_that_has_proved_the_secret_does_not_give_way(scene: Scene) -> None:
    """When all have, the newest does."""
    proved = scene.strangers(LIMITS.stranger_links, Standing.PROVED)

    newest = scene.add("192.0.2.99")

    assert newest.gave_way
    assert not any(each.gave_way for each in proved)


def test_strangers_never_drive_out_a_member(scene: Scene) -> None:
    members = [scene.add(MEMBER), scene.add(MEMBER)]
    scene.strangers(100)

    assert not any(each.gave_way for each in members)


def test_a_member_drives_out_a_stranger_when_every_place_is_taken(scene: Scene) -> None:
    members = [scene.add(MEMBER) for _ in range(2)]
    strangers = scene.strangers(LIMITS.stranger_links)

    members.append(scene.add(MEMBER))

    assert [each.gave_way for each in strangers] == [True] + [False] * (LIMITS.stranger_links - 1)
    assert not any(each.gave_way for each in members)


def test_turns_are_counted_from_the_last_connection(scene: Scene) -> None:
    """Those of one turn compete two turns later, whatever came or went before."""
    turns: list[Callable[[], None]] = []

    class Turns:
        def callLater(self, _delay: float, call: Callable[[], None]) -> None:
            turns.append(call)

    backlog = Backlog(LIMITS, Members(), cast(Any, Turns()))

    def turn() -> None:
        due = turns[:]
        turns.clear()
        for each in due:
            each()

    gone, first, *others = (Connection() for _ in range(LIMITS.address_links + 2))
    backlog.add(gone, "192.0.2.1")
    backlog.remove(gone)
    backlog.add(first, "192.0.2.1")
    turn()
    for each in others:
        backlog.add(each, "192.0.2.1")
    turn()
    assert not any(each.gave_way for each in (first, *others))
    turn()
    assert [each.gave_way for each in (first, *others)] == [True] + [False] * LIMITS.address_links
    assert turns == []


def test_strangers_who_share_the_address_of_a_member(scene: Scene) -> None:
    """With NAT only what they say tells them apart. A new connection is let in all the same."""
    member = scene.add(SHARED, Standing.GREETED)
    silent = [scene.add(SHARED) for _ in range(100)]

    assert not member.gave_way
    assert not silent[-1].gave_way
    assert len(list(scene.backlog)) == LIMITS.greeting_links


def test_one_that_knows_the_secret_stays_longer_than_any_that_greet(scene: Scene) -> None:
    """However many come from the address of the members, as with NAT, before it has proved the secret."""
    member = scene.add(SHARED, Standing.VOUCHED)
    greeted = [scene.add(SHARED, Standing.GREETED) for _ in range(500)]

    assert not member.gave_way
    assert not greeted[-1].gave_way


def test_one_address_has_a_share_of_its_own(scene: Scene) -> None:
    others = scene.strangers(2)
    flood = [scene.add("198.51.100.1") for _ in range(50)]

    assert not any(each.gave_way for each in others)
    assert sum(not each.gave_way for each in flood) == LIMITS.address_links


def test_a_place_is_free_when_its_connection_is_gone(scene: Scene) -> None:
    for each in scene.strangers(LIMITS.stranger_links):
        scene.backlog.remove(each)
    strangers = scene.strangers(LIMITS.stranger_links)

    assert not any(each.gave_way for each in strangers)
    scene.backlog.remove(Connection())  # one that has given way before


def test_connections_accepted_at_once_are_read_before_any_gives_way(scene: Scene) -> None:
    """A member among many strangers of its address has greeted before it competes."""
    accepted = [Connection() for _ in range(50)]
    for each in accepted:
        scene.backlog.add(each, SHARED)
    assert not any(each.gave_way for each in accepted)
    accepted[0].standing = Standing.GREETED

    scene.clock.advance(0)

    assert not accepted[0].gave_way
    assert sum(not each.gave_way for each in accepted) == LIMITS.greeting_links


def test_a_connection_that_ends_at_once_does_not_compete(scene: Scene) -> None:
    strangers = scene.strangers(LIMITS.stranger_links)
    connection = Connection()
    scene.backlog.add(connection, "192.0.2.99")
    scene.backlog.remove(connection)

    scene.clock.advance(0)

    assert not any(each.gave_way for each in strangers)
