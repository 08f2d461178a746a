"""The other nodes, asked only while somebody looks, and within bounds."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from kraft.telemetry.recent.history import RANGES
from kraft.web.cluster import Cluster
from kraft.web.fetcher import NoAnswer
from kraft.web.limits import RANGE_WANTED_SECONDS, ROUND_SECONDS
from kraft.web.report import encode
from tests.web.reports import member, report


class Asking:
    """K1, which asks K2 and K3."""

    def __init__(self) -> None:
        self.own = report("K1")
        self.clock = Clock()
        self.asked: list[tuple[str, Deferred[bytes]]] = []
        self.cluster = Cluster(lambda: self.own, self.fetch, self.clock)

    def fetch(self, address: str, path: str) -> Deferred[bytes]:
        answer: Deferred[bytes] = Deferred()
        self.asked.append((address + path, answer))
        return answer

    def round(self) -> list[str]:
        """Who is asked when a second has passed."""
        self.clock.advance(ROUND_SECONDS)
        before = len(self.asked)
        self.cluster.refresh()
        return [url for url, _ in self.asked[before:]]

    def known(self) -> dict[str, str]:
        """What is known of each: the leader it names, its error, or nothing."""
        return {
            answer.id: answer.report.status.groups[0].leader if answer.report else answer.error
            for answer in self.cluster.view().answers
        }


def body(node: str, **changed: object) -> bytes:
    return encode(report(node, **changed), pretty=False)  # type: ignore[arg-type]


def test_nobody_is_asked_by_looking_alone() -> None:
    asking = Asking()

    assert asking.known() == {"K1": "K1", "K2": "", "K3": ""}
    assert asking.asked == []


def test_a_round_asks_every_other_node_once_and_ends_with_the_last_answer() -> None:
    asking = Asking()
    ended: list[object] = []
    asking.cluster.refresh().addCallback(ended.append)
    (second, second_answer), (third, third_answer) = asking.asked
    assert (second, third) == ("K2:21/status?full", "K3:21/status?full")

    second_answer.callback(body("K2"))
    assert asking.known() == {"K1": "K1", "K2": "K1", "K3": ""}
    assert ended == []
    third_answer.errback(NoAnswer("Connection refused"))

    assert asking.known() == {"K1": "K1", "K2": "K1", "K3": "Connection refused"}
    assert ended == [None]


def test_many_who_look_share_a_round() -> None:
    asking = Asking()
    ended: list[object] = []
    for _ in range(5):
        asking.cluster.refresh().addCallback(ended.append)
    assert len(asking.asked) == 2

    for node, (_, answer) in zip(("K2", "K3"), asking.asked, strict=True):
        answer.callback(body(node))
    asking.cluster.refresh().addCallback(ended.append)

    assert ended == [None] * 6
    assert len(asking.asked) == 2
    assert asking.round() == ["K2:21/status?full", "K3:21/status?full"]


def test_who_has_not_answered_is_not_asked_again() -> None:
    asking = Asking()
    asking.round()
    asking.asked[0][1].callback(body("K2"))

    assert asking.round() == ["K2:21/status?full"]


def test_what_a_node_said_before_it_fell_silent_is_kept() -> None:
    asking = Asking()
    asking.round()
    asking.asked[0][1].callback(body("K2"))
    asking.round()
    asking.asked[2][1].errback(NoAnswer("Connection refused"))

    second = asking.cluster.view().answers[1]

    assert (second.id, second.report, second.error) == ("K2", None, "Connection refused")
    assert second.last is not None


def test_answers_of_others_are_not_believed() -> None:
    """No kraft, another node, another cluster."""
    asking = Asking()
    asking.round()
    asking.asked[0][1].callback(b"<html>")
    asking.asked[1][1].callback(body("K9"))
    assert asking.known() == {
        "K1": "K1",
        "K2": "the server at its HTTP address is not a kraft node",
        "K3": "node 'K9' answers at its HTTP address",
    }

    asking.round()
    asking.asked[2][1].callback(body("K2", cluster="beef"))
    assert asking.known()["K2"] == "node 'K2' answers at its HTTP address"


def test_a_member_that_never_greeted_is_told_as_such() -> None:
    asking = Asking()
    asking.own = report("K1", members=(member("K1"), member("K2", http="")))

    assert asking.round() == []
    assert asking.known()["K2"] == "its HTTP address is unknown"


def test_who_was_removed_is_forgotten() -> None:
    asking = Asking()
    asking.round()
    asking.asked[0][1].callback(body("K2"))
    asking.own = report("K1", members=(member("K1"), member("K3")))

    asking.round()

    assert set(asking.known()) == {"K1", "K3"}
    assert set(asking.cluster._answers) <= {"K3"}


def test_a_node_that_was_removed_asks_those_whose_address_it_can_tell() -> None:
    """It has links to none, and the others are no news of its own."""
    asking = Asking()
    members = (member("K1"), member("K2", http=""), member("K3"))
    asking.own = report("K1", members=members, state="removed")

    assert asking.round() == ["K3:21/status?full"]
    assert [answer.id for answer in asking.cluster.view().answers] == ["K1", "K3"]


def test_a_longer_range_is_asked_for_at_once_and_while_somebody_looks_at_it() -> None:
    asking = Asking()
    minutes, hour, _ = RANGES
    assert asking.round() == ["K2:21/status?full", "K3:21/status?full"]
    asking.cluster.refresh(hour)
    asking.cluster.refresh(minutes)
    longer = ["K2:21/status?full&range=1h", "K3:21/status?full&range=1h"]
    assert [url for url, _ in asking.asked[2:]] == longer

    for node, (_, answer) in zip(("K2", "K3", "K2", "K3"), asking.asked, strict=True):
        answer.callback(body(node))
    assert asking.round() == longer
    for node, (_, answer) in zip(("K2", "K3"), asking.asked[4:], strict=True):
        answer.callback(body(node))
    asking.clock.advance(RANGE_WANTED_SECONDS)
    assert asking.round() == ["K2:21/status?full", "K3:21/status?full"]


def test_the_answer_to_a_request_for_less_is_ignored() -> None:
    asking = Asking()
    ended: list[object] = []
    asking.cluster.refresh()
    asking.cluster.refresh(RANGES[2]).addCallback(ended.append)
    short, _, long, other = [answer for _, answer in asking.asked]

    long.callback(body("K2"))
    short.callback(body("K2", leader="K3"))
    assert (asking.known()["K2"], ended) == ("K1", [])
    other.callback(body("K3"))
    assert ended == [None]
