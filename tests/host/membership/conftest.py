"""A cluster of three, for the tests of this folder."""

import pytest

from tests.host.membership.story import Story


@pytest.fixture
def trio():
    return Story("K1", "K2", "K3")
