"""Why a group makes no progress: what is known of its voters' links, disks, drains and fences.

Only a majority can log an entry, and only a voter that may lead can be elected. What keeps too many of them
from it is named here, so that a client and an operator read the reason instead of its consequence.
"""

from collections.abc import Mapping

from kraft.host.membership.peers import Peers
from kraft.peerwire.errors import REFUSED_BY_PEER
from kraft.raft.membership.configuration import Configuration
from kraft.raft.membership.quorum import Outcome, quorum_of


def log_obstacle(peers: Peers, configuration: Configuration) -> str:
    """Why no majority of the voters can log entries, such as `disk full on K2 and K3`; '' if one can.

    A replica that has just begun knows of no voters, and so of no reason.
    """
    if not configuration.members:
        return ""
    obstacles = {voter: _cannot_log(peers, voter) for voter in configuration.electors}
    if _have_majority(configuration, obstacles):
        return ""
    return _lost_data(peers, configuration) or _in_words(obstacles)


def _lost_data(peers: Peers, configuration: Configuration) -> str:
    """What to do when a majority has lost its data; '' while enough voters may still have theirs."""
    lost = peers.formation.lost_data
    gone = [voter for voter in configuration.electors if voter in lost]
    if _have_majority(configuration, dict.fromkeys(configuration.electors, "") | dict.fromkeys(gone, "lost")):
        return ""
    left = [member.id for member in configuration.everyone if member.id not in lost]
    survivor = left[0] if len(left) == 1 else f"that of {' and '.join(left)} which has the latest log"
    has = "has" if len(gone) == 1 else "have"
    return (
        f"{_names(gone)} {has} lost data, so that no majority has it: restore the data directories, or stop "
        f"all nodes and run kraft recover on {survivor}"
    )


def election_obstacle(peers: Peers, configuration: Configuration) -> str:
    """Why no voter can be elected; '' if one can."""
    obstacle = log_obstacle(peers, configuration)
    if obstacle or not configuration.members:
        return obstacle
    obstacles = {
        voter: _cannot_log(peers, voter) or _cannot_lead(peers, voter) for voter in configuration.electors
    }
    return _in_words(obstacles) if all(obstacles.values()) else ""


def slow_obstacle(peers: Peers, configuration: Configuration) -> str:
    """Which slow disks and links every majority needs, such as `slow disk on K2`; '' if one does without."""
    electors = configuration.electors
    if not electors:
        return ""
    obstacles = {voter: _cannot_log(peers, voter) or _is_slow(peers, voter) for voter in electors}
    return "" if _have_majority(configuration, obstacles) else _in_words(obstacles)


def _have_majority(configuration: Configuration, obstacles: Mapping[str, str]) -> bool:
    votes = {voter: not obstacle for voter, obstacle in obstacles.items()}
    return quorum_of(configuration).tally(votes) is Outcome.WON


def _cannot_log(peers: Peers, voter: str) -> str:
    """Why `voter` cannot log entries, with a place for names; '' if it can, or if nothing is known."""
    formation = peers.formation
    if voter != formation.identity.id and voter not in peers.connected:
        failure = peers.failures.get(voter, "")
        reason = formation.rejected.get(voter) or (failure if failure.startswith(REFUSED_BY_PEER) else "")
        return f"no link to {{}} ({reason})" if reason else "no link to {}"
    condition = peers.condition_of(voter)
    return "disk full on {}" if condition is not None and condition.disk_full else ""


def _cannot_lead(peers: Peers, voter: str) -> str:
    condition = peers.condition_of(voter)
    if condition is None:
        return ""
    if condition.fenced:
        return "wrong data on {}"
    return "drained: {}" if condition.drained else ""


def _is_slow(peers: Peers, voter: str) -> str:
    condition = peers.condition_of(voter)
    if condition is not None and condition.disk_slow:
        return "slow disk on {}"
    return "full link to {}" if voter in peers.network.congested() else ""


def _in_words(obstacles: Mapping[str, str]) -> str:
    """The obstacles, each with the voters that have it."""
    voters: dict[str, list[str]] = {}
    for voter, obstacle in sorted(obstacles.items()):
        if obstacle:
            voters.setdefault(obstacle, []).append(voter)
    return ", ".join(obstacle.replace("{}", _names(ids)) for obstacle, ids in sorted(voters.items()))


def _names(ids: list[str]) -> str:
    return ", ".join(ids[:-1]) + " and " + ids[-1] if len(ids) > 1 else ids[0]
