"""`python -m tests.trace.longest_turn` asks commands that are there, on few keys."""

import gc
from typing import Any

from tests.trace.longest_turn import COMMANDS, filled

KEYS = 2000


def _visited() -> list[Any]:
    """The containers with many elements that a collection of garbage visits."""
    kinds = (list, tuple, dict, set, frozenset)
    return [each for each in gc.get_objects() if isinstance(each, kinds) and len(each) > KEYS // 4]


def test_every_command_is_answered(tmp_path):
    """And no container that grows with the keys is visited by the collector, whether data or index."""
    before = _visited()
    turns = filled(tmp_path, KEYS)
    gc.unfreeze()
    try:
        for words in COMMANDS:
            reply = turns.ask(*words)
            assert reply[:1] in b"+:*$", (words[:3], reply)
            assert 0 < turns.leader < 1
            if words[0] in ("MSETEX", "CLUSTER"):
                assert [each[:3] for each in _visited() if not any(each is other for other in before)] == []
    finally:
        turns.close()
