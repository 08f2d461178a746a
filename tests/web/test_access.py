"""Who may read the pages of the HTTP port: by token, by certificate, and who else."""

from base64 import b64encode
from typing import Any

import pytest

from kraft.web.limits import BUSY_MAX, WRONG_SECONDS, WRONG_WAITING_MAX
from tests.web.http_client import Client, TurnClock, opened
from tests.web.test_site import Browser

TOKEN = b"0123456789abcdef0123456789abcdef"
OTHER = b"fedcba9876543210fedcba9876543210"
PAGES = ("/", "/events", "/glossary", "/metrics", "/status", "/status?full", "/nowhere", "/kraft.css")
HEALTH = ("/livez", "/readyz", "/readyz?x", "/livez?token=x")


def bearer(token: bytes = TOKEN) -> str:
    return f"Authorization: Bearer {token.decode()}\r\n"


def basic(password: bytes = TOKEN, user: bytes = b"me") -> str:
    return f"Authorization: Basic {b64encode(user + b':' + password).decode()}\r\n"


def guarded(**more: Any) -> Browser:
    return Browser(tokens=[TOKEN, OTHER], **more)


@pytest.mark.parametrize("path", PAGES)
def test_without_the_token_no_page_is_shown(path: str) -> None:
    """Not even whether it exists. The browser is asked to ask."""
    code, headers, body = guarded().get(path)

    assert code == 401
    assert headers["www-authenticate"] in ('basic realm="kraft", charset="utf-8"', 'bearer realm="kraft"')
    assert b"token of http.token_file" in body


@pytest.mark.parametrize("path", HEALTH)
def test_health_is_for_everybody(path: str) -> None:
    browser = guarded()
    assert browser.get(path)[::2] == (200, b"ok\n")
    assert browser.get(path, headers=bearer(b"wrong"))[::2] == (200, b"ok\n")
    assert browser.telemetry.refused == []


@pytest.mark.parametrize(
    "header", [bearer(), bearer(OTHER), basic(), basic(OTHER, b""), bearer().replace("Bearer", "bearer")]
)
def test_each_token_lets_in(header: str) -> None:
    """As a bearer's, and as a password with any name."""
    browser = guarded()
    assert browser.get("/glossary", headers=header)[0] == 200
    assert browser.telemetry.refused == []


@pytest.mark.parametrize(
    "header",
    [
        bearer(TOKEN[:-1]),
        bearer(TOKEN + b"0"),
        bearer(b""),
        basic(b""),
        basic(b"x", TOKEN),
        "Authorization: Basic !!!\r\n",
        "Authorization: Basic\r\n",
        f"Authorization: {TOKEN.decode()}\r\n",
        f"Authorization: Digest {TOKEN.decode()[:-1]}\r\n",
        "Authorization: Bearer \xff\xfe\r\n",
    ],
)
def test_a_wrong_token_is_answered_late(header: str) -> None:
    browser = guarded()
    begin(browser, header)
    assert browser.transport.value() == b""

    browser.clock.advance(WRONG_SECONDS)

    assert browser.received()[0] == 401
    assert browser.telemetry.refused == ["wrong"]
    assert browser.telemetry.scrapes == 0


def begin(browser: Browser, header: str) -> None:
    """Send a request, whose answer may come later."""
    browser.clock.advance(0)
    browser.transport.clear()
    browser.protocol.dataReceived(f"GET /metrics HTTP/1.1\r\nHost: k\r\n{header}\r\n".encode("latin-1"))


def test_what_is_missing_is_answered_at_once() -> None:
    """A browser begins so."""
    browser = guarded()
    assert browser.get("/metrics")[0] == 401
    assert browser.telemetry.refused == ["missing"]


def ask(client: Client, header: str) -> None:
    client.send(f"GET /glossary HTTP/1.1\r\nHost: k\r\n{header}\r\n".encode())


def test_whoever_guesses_takes_no_places_from_others() -> None:
    """Few wait for the late answer, the others have theirs at once; the right token is let in meanwhile."""
    browser = guarded(clock=TurnClock())
    strangers = opened(browser, BUSY_MAX)
    for stranger in strangers:
        ask(stranger, bearer(b"guess"))
    assert [stranger.codes for stranger in strangers] == [
        *([[]] * WRONG_WAITING_MAX),
        *([[429]] * (BUSY_MAX - WRONG_WAITING_MAX)),
    ]

    [friend] = opened(browser, 1)
    ask(friend, bearer())
    assert friend.codes == [200]

    browser.clock.advance(WRONG_SECONDS)
    assert [stranger.codes for stranger in strangers[:WRONG_WAITING_MAX]] == [[401]] * WRONG_WAITING_MAX
    ask(friend, bearer(b"typo"))
    browser.clock.advance(WRONG_SECONDS)
    assert friend.codes == [200, 401]


def test_those_who_leave_give_their_place_back() -> None:
    browser = guarded(clock=TurnClock())
    for client in opened(browser, WRONG_WAITING_MAX):
        ask(client, bearer(b"guess"))
        client.leave()
    [friend] = opened(browser, 1)
    ask(friend, bearer(b"typo"))
    assert friend.codes == []
    browser.clock.advance(WRONG_SECONDS)
    assert friend.codes == [401]


@pytest.mark.parametrize(
    ("access", "certificate", "code"),
    [
        ({}, None, 200),
        ({"certificates": True}, None, 200),
        ({"certificates": True, "required": True}, None, 403),
        ({"certificates": True, "required": True}, object(), 200),
        ({"certificates": True, "tokens": [TOKEN]}, None, 401),
        ({"certificates": True, "tokens": [TOKEN]}, object(), 200),
        ({"certificates": True, "required": True, "tokens": [TOKEN]}, None, 401),
        ({"certificates": True, "required": True, "tokens": [TOKEN]}, object(), 200),
        ({"tokens": [TOKEN]}, object(), 401),
    ],
)
def test_a_certificate_is_as_good_as_a_token_where_the_port_asks_for_it(
    access: dict[str, Any], certificate: object, code: int
) -> None:
    browser = Browser(**access)
    transport: Any = browser.transport
    transport.peer_certificate = lambda: certificate
    assert browser.get("/metrics")[0] == code
    assert browser.get("/livez")[0] == 200


def test_tokens_change_for_the_next_request() -> None:
    """Also on connections that are open."""
    browser = guarded()
    assert browser.get("/glossary", headers=bearer())[0] == 200
    browser.access.take([OTHER])
    assert browser.access.token == OTHER.decode()
    begin(browser, bearer())
    browser.clock.advance(WRONG_SECONDS)
    assert browser.received()[0] == 401
    browser.clock.advance(1)
    assert browser.get("/glossary", headers=bearer(OTHER))[0] == 200


def test_other_methods_are_refused_before_a_token_is_asked_for() -> None:
    assert guarded().get("/metrics", method="POST")[0] == 405
