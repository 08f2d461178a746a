"""The entry point of the plugin. That nodes start and stop is tested in tests/cluster."""

from kraft.tap import Options


def test_help_shows_no_empty_defaults():
    assert "[default: ]" not in str(Options())
