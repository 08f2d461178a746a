"""Shrinks a failing run: fewer faults, less time, fewer clients, as long as it still fails.

Any failure counts, because a smaller run may show the same mistake in another way. Faults are left out by
halves, then quarters, down to single faults (delta debugging). The number of runs is limited.
"""

from collections.abc import Callable, Sequence

from tests.simulation.plan import Fault, Plan, draw
from tests.simulation.run import run_plan

RUNS_MAX = 300

Run = Callable[[Plan], Exception | None]


def failure(plan: Plan) -> Exception | None:
    """The error of the run of `plan`, or None."""
    try:
        run_plan(plan)
    except Exception as error:
        return error
    return None


class _Search:
    """The smallest failing plan so far, and its error."""

    def __init__(self, plan: Plan, error: Exception, run: Run, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.error = error
        self._run = run
        self._say = say
        self._left = RUNS_MAX

    def takes(self, plan: Plan) -> bool:
        """Return whether `plan` fails too, and keep it if so."""
        if not self._left or plan == self.plan:
            return False
        self._left -= 1
        error = self._run(plan)
        if error is None:
            return False
        self.plan, self.error = plan, error
        self._say(f"{len(plan.faults)} faults, {plan.seconds:g} s, {plan.clients} clients: {error}")
        return True


def shrink(
    plan: Plan, say: Callable[[str], None] = lambda _: None, run: Run = failure
) -> tuple[Plan, Exception]:
    """Return the smallest failing plan found, and its error. `plan` must fail."""
    error = run(plan)
    if error is None:
        raise ValueError(f"the run of seed {plan.seed} does not fail")
    search = _Search(plan, error, run, say)
    _less_time(search)
    _fewer_faults(search)
    for clients in range(1, search.plan.clients):
        if search.takes(search.plan.of_clients(clients)):
            break
    _fewer_faults(search)
    _less_time(search)
    return search.plan, search.error


def _less_time(search: _Search) -> None:
    """Drop everything after the failure, then halve the time repeatedly."""
    seconds = getattr(search.error, "simulated_seconds", search.plan.seconds)
    if seconds < search.plan.seconds:
        search.takes(search.plan.until(round(seconds, 3)))
    while search.plan.seconds > 0.5 and search.takes(search.plan.until(round(search.plan.seconds / 2, 3))):
        pass


def _fewer_faults(search: _Search) -> None:
    size = max(1, len(search.plan.faults) // 2)
    while search.plan.faults:
        removed = False
        for some in _pieces(search.plan.faults, size):
            removed |= search.takes(search.plan.without(fault.index for fault in some))
        if size == 1 and not removed:
            return
        size = max(1, min(size // 2, len(search.plan.faults) // 2))


def _pieces(faults: Sequence[Fault], size: int) -> list[Sequence[Fault]]:
    return [faults[start : start + size] for start in range(0, len(faults), size)]


def command_of(plan: Plan) -> str:
    """The command that repeats the run of a shrunk plan."""
    wanted = {"moving": plan.moving, "placing": plan.placing, "replicas": plan.replicas}
    whole = draw(plan.seed, **wanted, leasing=plan.leasing)
    kept = [fault.index for fault in plan.faults]
    left_out = [fault.index for fault in whole.faults if fault.index not in kept]
    parts = ["python -m tests.simulation.schedule", f"--seed {plan.seed}{plan.options}"]
    if left_out:
        fewer = len(left_out) <= len(kept)
        some = ",".join(map(str, left_out if fewer else kept))
        parts.append(f"--without {some}" if fewer else f"--only {some or ','}")
    if plan.clients != whole.clients:
        parts.append(f"--clients {plan.clients}")
    if plan.seconds != whole.seconds:
        parts.append(f"--seconds {plan.seconds:g}")
    return " ".join(parts)
