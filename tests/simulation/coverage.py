"""Statistics of many runs: faults by family and kind, events, and the size of the runs."""

from collections import Counter
from collections.abc import Sequence

from tests.simulation.fault_kinds import FAMILIES, KINDS
from tests.simulation.run import Result


class Coverage:
    """The sum of results."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._runs_with: Counter[str] = Counter()
        self._messages: list[int] = []
        self._operations: list[int] = []
        self._families: Counter[int] = Counter()
        self._full = 0
        self._seconds = 0.0

    def add(self, result: Result) -> None:
        counts = result.counts.copy()
        counts["operation done"] = result.done
        counts["operation refused"] = result.refused
        counts["operation unknown"] = result.unknown
        counts["step"] = result.steps
        self._counts += counts
        self._runs_with.update(name for name, count in counts.items() if count)
        self._messages.append(result.messages)
        self._operations.append(result.operations)
        self._families[len(result.families)] += 1
        self._full += result.full
        self._seconds += result.seconds

    def table(self) -> str:
        """The statistics as text."""
        lines = [f"{'times':>10} {'runs':>6}  fault"]
        known = set()
        for family in FAMILIES:
            for kind in (name for name, kind in KINDS.items() if kind.family == family):
                name = f"fault {family}: {kind}"
                known.add(name)
                lines.append(self._line(name, f"{family}: {kind}"))
        lines.append(f"{'times':>10} {'runs':>6}  event")
        lines += [self._line(name, name) for name in sorted(self._counts) if name not in known]
        if self._messages:
            lines.append(f"messages delivered in a run: {_range(self._messages)}")
            lines.append(f"operations of clients in a run: {_range(self._operations)}")
            met = ", ".join(f"{count} runs {n}" for n, count in sorted(self._families.items()))
            lines.append(f"families of faults: {met}")
            lines.append(f"{self._full} runs are full; {self._seconds:.0f} seconds of virtual time")
        return "\n".join(lines)

    def _line(self, name: str, text: str) -> str:
        return f"{self._counts[name]:10} {self._runs_with[name]:6}  {text}"


def _range(numbers: Sequence[int]) -> str:
    ordered = sorted(numbers)
    return f"least {ordered[0]}, median {ordered[len(ordered) // 2]}, most {ordered[-1]}"
