"""Numbers as arguments: what is refused says what is accepted."""

import pytest

from kraft.cli.main import main

MANY = "is not a whole number"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("split x", f"argument GROUP: 'x' {MANY}, 0 or more"),
        ("split -1", f"argument GROUP: '-1' {MANY}, 0 or more"),
        ("split 0 --into 1", f"argument --into: '1' {MANY}, 2 or more"),
        ("merge 0 1.5", f"argument OTHER: '1.5' {MANY}, 0 or more"),
        ("move 0-9 all", f"argument GROUP: 'all' {MANY}, 0 or more"),
        ("moves --cancel 0", f"argument --cancel: '0' {MANY}, 1 or more"),
        ("replication most", "argument N|all: 'most' is neither a number of voters nor all"),
        ("backup --to b --keep -1", f"argument --keep: '-1' {MANY}, 0 or more"),
        ("backup --to b --bytes-per-second 1e9", f"argument --bytes-per-second: '1e9' {MANY}, 0 or more"),
        ("certs K1 --days 0", "argument --days: '0' is not a number from 1 to"),
        ("demo --nodes 10", "argument --nodes: '10' is not a number from 1 to 9"),
        ("status --timeout 0", "argument --timeout: '0' is not a number of seconds above 0, up to 3600"),
        ("status --timeout nan", "argument --timeout: 'nan' is not a number of seconds above 0, up to 3600"),
    ],
)
def test_a_number_that_is_refused(words: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
