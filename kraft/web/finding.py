"""One problem of a cluster, or one change under way in it; and all of them."""

from dataclasses import dataclass

BAD, WARN, NOTE = "bad", "warn", "note"  # not serving; serving, but needs attention; a change under way


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem or change.

    subject: the node or group it is about; `text` goes on from that name.
    command: what to type next, exactly; '' if there is nothing to type.
    advice: where to type it, or what to do instead; '' if there is nothing to do but wait.
    topic: clock, versions, slots, votes, replicas or cluster.
    """

    severity: str
    subject: str
    text: str
    command: str = ""
    advice: str = ""
    topic: str = "cluster"

    @property
    def next(self) -> str:
        """Command and advice in one line."""
        return ", ".join(filter(None, (self.command, self.advice)))


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The state of the cluster in one line, and the findings that it sums up, the worst first."""

    severity: str  # 'good', or the severity of the worst finding that is not a note
    text: str
    findings: tuple[Finding, ...]
