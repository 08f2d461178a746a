"""What a member refuses to another node is refused there to the client, for the same reason."""

import pytest

from kraft.host.requests.read_refusals import outcome_of, refusal_of
from kraft.node.errors import NoLeader
from kraft.peerwire.messages import NOT_READ, TOO_MUCH


@pytest.mark.parametrize("outcome", range(NOT_READ + 1, TOO_MUCH + 1))
def test_each_outcome_of_the_wire_stands_for_one_refusal(outcome):
    refusal = refusal_of(outcome, 3)
    assert refusal is not None
    assert outcome_of(refusal) == outcome


def test_what_another_member_may_answer_is_no_refusal():
    assert outcome_of(NoLeader(3)) == NOT_READ
    assert refusal_of(NOT_READ, 3) is None
