"""The HTTP port of one node, and a client of it."""

import pytest

from tests.web.http_client import Client, TurnClock, opened
from tests.web.test_site import Browser


@pytest.fixture
def browser() -> Browser:
    return Browser(clock=TurnClock())


@pytest.fixture
def client(browser: Browser) -> Client:
    [client] = opened(browser, 1)
    return client
