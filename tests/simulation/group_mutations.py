"""Mistakes in what concerns several groups. Each needs a plan with more than one, of which a third are."""

from tests.simulation.mutation import Mutation

_CREATED = "tests/host/test_created_groups.py"

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
        "created groups begin without their first entry on disk",
        "kraft/host/lifecycle.py",
        "self._context.disk.commit(Transaction(writes, identity), done)",
        "self._context.disk.commit(Transaction((), identity), done)",
        "the number of groups and their first entries are one transaction",
        test=_CREATED,
    ),
    Mutation(
        "groups are created while their members change",
        "kraft/host/admin/group_creation.py",
        "not first.membership.is_complete or self._groups_differ(first)",
        "False",
        "a created group has the members of group 0",
        test=_CREATED,
    ),
    Mutation(
        "a change of the members leaves created groups out",
        "kraft/host/admin/executor.py",
        "if isinstance(outcome, Exception) or self._slots.groups == groups:",
        "if True:",
        "a command is answered when all groups have done it",
        test=_CREATED,
    ),
    Mutation(
        "groups are created again by the same command",
        "kraft/kv/created_groups.py",
        "if command.first != following or not",
        "if not",
        "a command that comes twice has its effect once",
        test="tests/kv/test_created_groups.py",
    ),
    Mutation(
        "slots are divided among the groups that there are by now",
        "kraft/host/slots.py",
        "        self.groups = founded + created\n",
        "        self.groups = self.founded = founded + created\n",
        "the slots are divided by the number of groups at the beginning",
        test=_CREATED,
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
