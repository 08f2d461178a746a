"""Problems of a configuration, collected so that all of them are reported at once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: its option (such as `raft.election_timeout`), its line (0 for none), and the fix."""

    source: str
    path: str
    text: str
    line: int = 0

    def __str__(self) -> str:
        """`FILE:LINE: path: text`, without unknown parts."""
        return ": ".join(filter(None, (self.place, self.path, self.text)))

    @property
    def place(self) -> str:
        """`FILE:LINE`, or `FILE`."""
        return f"{self.source}:{self.line}" if self.line else self.source


class ConfigError(Exception):
    """The configuration is invalid; `problems` has all problems, in the order of the file."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        """One line per problem."""
        return "\n".join(str(problem) for problem in self.problems)
