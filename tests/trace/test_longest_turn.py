"""`python -m tests.trace.longest_turn` asks commands that are there, on few keys."""

from tests.trace.longest_turn import COMMANDS, filled


def test_every_command_is_answered(tmp_path):
    turns = filled(tmp_path, 200)
    try:
        for words in COMMANDS:
            reply = turns.ask(*words)
            assert reply[:1] in b"+:*$", (words[:3], reply)
            assert 0 < turns.leader < 1
    finally:
        turns.close()
