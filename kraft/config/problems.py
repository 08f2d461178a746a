"""What can be wrong with a configuration, collected so that all of it is told at once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend: where (`path` like `raft.election_timeout`; `line` from 1, 0 for none) and how."""

    source: str
    path: str
    text: str
    line: int = 0

    def __str__(self) -> str:
        """`FILE:LINE: path: text`, without the parts that are not known."""
        place = f"{self.source}:{self.line}" if self.line else self.source
        return ": ".join(part for part in (place, self.path, self.text) if part)


class ConfigError(Exception):
    """The configuration cannot be used; `problems` holds all that is wrong, in the order of the file."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        """One line for each problem."""
        return "\n".join(str(problem) for problem in self.problems)
