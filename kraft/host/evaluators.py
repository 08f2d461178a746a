"""Where the replicas of a node find what the client port does for them, once that is open."""

from kraft.host.ports import KeyQueries, ScriptEvaluator


class Evaluators:
    """The `evaluator` of scripts, and what answers `queries` of other nodes: None until there is one."""

    def __init__(self) -> None:
        self.evaluator: ScriptEvaluator | None = None
        self.queries: KeyQueries | None = None
