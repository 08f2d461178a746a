"""A transaction and a script cost the leader little more than their commands need.

The benchmark compares their rates with those of MSET and INCR (docs/performance.md); this has no noise.
"""

import pytest

from tests.trace.instructions import leader_instructions


# What it is today, and some hundredths for other versions of Python; lower it with every step.
@pytest.mark.parametrize(("name", "beside", "times"), [("EXEC", "MSET", 1.66), ("EVALSHA", "INCR", 2.16)])
def test_the_leader_executes_no_more_beside_the_plain_command(nodes, name, beside, times):
    count, plain = leader_instructions(nodes, name), leader_instructions(nodes, beside)
    assert plain < count <= times * plain, count / plain
