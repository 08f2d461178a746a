"""What several tests of hosts start from."""

import pytest

from tests.host.trio import Trio


@pytest.fixture
def trio():
    return Trio()
