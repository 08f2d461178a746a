"""What a planted mistake is."""

from typing import NamedTuple


class Mutation(NamedTuple):
    """`line` of `file` becomes `mutated`; `why` names the rule that this breaks.

    `run` is the module whose `run(seed)` finds it, or `module:function` if that has another name; or the file
    `test` does, where no history shows it.

    `line` is a fragment of the source that must occur exactly once. `seeds` is a few times the number needed
    today; a mistake that needs more seeds shows that the simulator no longer detects its kind.
    """

    name: str
    file: str
    line: str
    mutated: str
    why: str
    seeds: int = 40
    run: str = "tests.simulation.run"
    test: str = ""
