"""The entry point of the plugin. tests/cluster tests the start and stop of nodes."""

import pytest
from twisted.python import usage

from kraft.tap import Options


def test_help_shows_no_empty_defaults():
    assert "[default: ]" not in str(Options())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--confg", "x"], "option --confg not recognized; did you mean --config?"),
        (["--service-prot=1"], "option --service-prot not recognized; did you mean --service-port?"),
        (["--xyzzy"], "option --xyzzy not recognized"),
        (["kraft.yaml"], "'kraft.yaml' belongs to no option; the configuration follows --config"),
    ],
)
def test_wrong_options_are_answered_with_what_was_meant(arguments, line):
    """twistd prints the line after the usage."""
    with pytest.raises(usage.UsageError) as refused:
        Options().parseOptions(arguments)
    assert str(refused.value) == line
