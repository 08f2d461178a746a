"""One simulated run: clients and the faults of its plan, then healing and a demand for progress.

The nodes run the production host, consensus core, state machine and peer codec; time, randomness, network,
disk and clients are simulated. A run carries out the faults of its plan, heals everything, and demands
progress, equal replicas and an explanation of every client's results. The properties of consensus are checked
after every step. docs/simulation.md has the tables.
"""

from collections import Counter
from dataclasses import dataclass

from tests.simulation.clients import SimulatedClient
from tests.simulation.cluster import SimulatedCluster, Tuning
from tests.simulation.errands import PATIENCE_SECONDS
from tests.simulation.faults import Faults
from tests.simulation.history import History
from tests.simulation.judge import judge, settled
from tests.simulation.network import Weather
from tests.simulation.plan import FAMILIES_MIN, Plan, draw
from tests.simulation.slot_owners import moves_left
from tests.simulation.violation import demand
from tests.simulation.votes import votes_left
from tests.simulation.world import World

HEAL_SECONDS = 30.0  # limit of recovery: a few elections, all retries, the clients' patience
FULL_SECONDS = 120.0  # in which a healed cluster completes the operations of a full run
PLACED_SECONDS = 60.0  # in which votes get where they should be
MOVED_SECONDS = 90.0  # in which moves end: more than the longest pause after attempts that failed
SPARES = 3
OPERATIONS_AFTER_HEALING = 40
# Faults that delay messages or processes for long, so that arriving data may be old.
UNTIMELY = frozenset(
    (
        "ancient messages",
        "clogged path",
        "drifting clocks",
        "heavy tail",
        "narrow links",
        "narrow path",
        "pause",
        "pause of minutes",
        "slow path",
        "standstill",
        "stranded",
    )
)
OPERATIONS_MIN = 200  # minimum for a full run
MESSAGES_MIN = 2_000


@dataclass(frozen=True)
class Result:
    """The result of a run. Equal plans give equal traces; `families` are those of the faults that struck."""

    plan: Plan
    trace: str
    steps: int
    seconds: float
    done: int
    refused: int
    unknown: int
    families: frozenset[str]
    counts: Counter[str]

    @property
    def operations(self) -> int:
        return self.done + self.refused + self.unknown

    @property
    def messages(self) -> int:
        return self.counts["message delivered"]

    @property
    def full(self) -> bool:
        """Whether the run is full: it has enough messages, operations and families of faults."""
        enough = self.messages >= MESSAGES_MIN and self.operations >= OPERATIONS_MIN
        return enough and len(self.families) >= FAMILIES_MIN


def run(seed: int, lines: list[str] | None = None) -> Result:
    """Run the plan of a seed, as `run_plan` does."""
    return run_plan(draw(seed), lines)


def run_moving(seed: int, lines: list[str] | None = None) -> Result:
    """As `run`; groups are created, and slots move between them."""
    return run_plan(draw(seed, moving=True), lines)


def run_replicas(seed: int, lines: list[str] | None = None) -> Result:
    """As `run`; nodes leave groups, and come back to them."""
    return run_plan(draw(seed, replicas=True), lines)


def run_leasing(seed: int, lines: list[str] | None = None) -> Result:
    """As `run`; reads rely on leases."""
    return run_plan(draw(seed, leasing=True), lines)


def run_plan(plan: Plan, lines: list[str] | None = None) -> Result:
    """Run a plan. Raises `Violation`, or any error of the production code, when a check fails.

    `lines` receives the whole trace. An error has its virtual time in `error.simulated_seconds`.
    """
    world = World(plan.seed)
    if lines is not None:
        world.lines = lines
    try:
        history, faults = _run(world, plan)
    except Exception as error:
        error.simulated_seconds = world.now  # type: ignore[attr-defined]
        error.add_note(
            f"repeat it with: python -m tests.simulation.schedule --seed {plan.seed}{plan.options} --trace"
        )
        raise
    return Result(
        plan=plan,
        trace=world.trace,
        steps=world.steps,
        seconds=world.now,
        done=history.done,
        refused=history.refused,
        unknown=history.unknown,
        families=frozenset(faults.met),
        counts=world.counts,
    )


def _run(world: World, plan: Plan) -> tuple[History, Faults]:
    tuning = Tuning(plan.checkpoint_entries, plan.keep_entries, plan.chunk_bytes, plan.leases)
    cluster = SimulatedCluster(
        world,
        Weather(),
        plan.nodes,
        plan.groups,
        SPARES,
        tuning,
        plan.disks,
        moving=plan.moving,
        scattered=plan.replicas or plan.placing,
    )
    try:
        return _live(cluster, plan)
    finally:
        cluster.close()


def _live(cluster: SimulatedCluster, plan: Plan) -> tuple[History, Faults]:
    world = cluster.world
    cluster.habits.thinking, cluster.habits.hot = plan.thinking, plan.keys
    cluster.timely = not any(fault.kind in UNTIMELY for fault in plan.faults)
    history = History()
    faults = Faults(cluster, plan)
    faults.start()
    clients = [SimulatedClient(cluster, history, number) for number in range(plan.clients)]
    cluster.start()
    if plan.disagreement:
        cluster.disagree(plan.disagreement)
    cluster.vigil.start()
    for client in clients:
        client.start()
    while world.lived < plan.seconds:
        cluster.run(plan.seconds - world.lived)
    faults.heal()
    goal = history.done + OPERATIONS_AFTER_HEALING
    demand(cluster.run(HEAL_SECONDS, lambda: history.done >= goal), "the healed cluster makes no progress")
    if not plan.calm:
        cluster.run(FULL_SECONDS, lambda: _long_enough(world, history))
    for client in clients:
        client.stop()
    if plan.moving:
        _end_moves(cluster, faults)
    if plan.placing:
        placed = cluster.run(PLACED_SECONDS, lambda: not votes_left(cluster))
        demand(placed, f"votes are not placed: {votes_left(cluster)}")
    demand(replicas_meet(cluster, faults), "the replicas of the healed cluster never meet")
    judge(cluster, history)
    world.note(f"end {history.done} {history.refused} {history.unknown}")
    return history, faults


def replicas_meet(cluster: SimulatedCluster, faults: Faults) -> bool:
    """Wait for the operator's commands, then for equal replicas. Returns whether these came in time.

    The operator repeats a command that was lost before the healing only after its limit.
    """
    cluster.run(PATIENCE_SECONDS, lambda: not faults.command_waits)
    return cluster.run(HEAL_SECONDS, lambda: settled(cluster))


def _end_moves(cluster: SimulatedCluster, faults: Faults) -> None:
    """Demand that all moves end, but for those that wait until the clock of their receiver is right."""
    cluster.run(MOVED_SECONDS, lambda: not faults.moves.asked)
    if not cluster.run(MOVED_SECONDS, lambda: not moves_left(cluster)):
        faults.moves.cancel_early()
        cluster.run(MOVED_SECONDS, lambda: not moves_left(cluster))
    demand(not moves_left(cluster), f"moves of slots do not end: {moves_left(cluster)}")


def _long_enough(world: World, history: History) -> bool:
    operations = history.done + history.refused + history.unknown
    return operations >= OPERATIONS_MIN and world.counts["message delivered"] >= MESSAGES_MIN
