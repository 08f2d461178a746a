"""Mistakes in what concerns several groups. Each needs a plan with more than one, of which a third are."""

from tests.simulation.mutation import Mutation

GROUP_MUTATIONS = (
    Mutation(
        "members changed in group 0 only",
        "kraft/host/admin/cluster_command.py",
        "self._rounds = [groups for groups in order if groups]",
        "self._rounds = [groups for groups in order if groups and not groups[0]]",
        "a command is answered when all groups have done it",
    ),
    Mutation(
        "a founder with another number of groups let in",
        "kraft/host/membership/formation.py",
        "return None if hello.cluster else _other_groups(hello, mine.id, self.groups)",
        "return None",
        "founders agree on the number of groups, which is a part of the cluster's id",
        80,
    ),
    Mutation(
        "a node that is added keeps its own number of groups",
        "kraft/host/membership/formation.py",
        "identity = self._identity(message.founders, message.groups)",
        "identity = self._identity(message.founders, self.groups)",
        "whoever joins takes the number of the cluster",
        80,
    ),
    Mutation(
        "groups that have changed asked again",
        "kraft/host/admin/cluster_command.py",
        'return [group for group, outcome in outcomes.items() if str(outcome).partition(" ")[0] != DONE]',
        "return list(outcomes)",
        "the same command finishes a change that ended half-way",
        200,
    ),
)
