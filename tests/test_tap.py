"""The entry point of the plugin. tests/cluster tests the start and stop of nodes."""

from kraft.tap import Options


def test_help_shows_no_empty_defaults():
    assert "[default: ]" not in str(Options())
