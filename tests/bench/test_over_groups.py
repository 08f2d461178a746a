"""The requests of the benchmark of requests over groups."""

from binascii import crc_hqx

import pytest

from bench.grouped import SLOTS
from bench.over_groups import GROUPS, keys_of, loads, row
from kraft.resp.parser import Parser, ParserLimits


@pytest.mark.parametrize("group", [0, 7, GROUPS - 1])
def test_keys_are_of_slots_of_their_group(group):
    keys = keys_of(group, 5)
    assert len(set(keys)) == 5
    assert {crc_hqx(key, 0) % SLOTS * GROUPS // SLOTS for key in keys} == {group}


@pytest.mark.parametrize("name", loads())
def test_each_request_is_whole_commands_and_differs_in_what_its_name_says(name):
    requests, clients = loads()[name]
    assert clients == (50 if "50 clients" in name else 1)
    for request in requests[:20]:
        parser = Parser(ParserLimits())
        parsed = parser.feed(request.sent)
        assert parser.error is None
        assert parser.buffered == 0
        keys = {word for words in parsed for word in words if word.startswith(b"key:")}
        groups = {crc_hqx(key, 0) % SLOTS * GROUPS // SLOTS for key in keys}
        assert len(groups) == (
            1 if "one group" in name or name == "GET" else 16 if "16 groups" in name else 2
        )


def test_a_row_has_rate_and_latencies():
    assert row("a load", [0.001, 0.002, 0.003], 1.5) == "| a load | 2 | 2.00 | 3.0 | 3 |"
