"""Why certificates cannot be used."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileProblem:
    """One problem. `part` is certificate, key, ca or crl, as in the section `tls`; `text` says what to do."""

    part: str
    text: str


class FilesRefused(Exception):
    """The files of certificates cannot be used; `problems` has all that is wrong with them."""

    def __init__(self, problems: tuple[FileProblem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "; ".join(f"tls.{each.part}: {each.text}" for each in self.problems)
