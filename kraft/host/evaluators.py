"""Where the replicas of a node find what evaluates scripts, once the client port is open."""

from kraft.host.ports import ScriptEvaluator


class Evaluators:
    """`evaluator` is None until there is one."""

    def __init__(self) -> None:
        self.evaluator: ScriptEvaluator | None = None
