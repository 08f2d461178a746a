"""The meaning of each change of the membership, and every refusal with its way out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.raft.errors import ChangeRefused
from kraft.raft.membership import changes
from kraft.raft.membership.configuration import (
    MEMBERS_MAX,
    RETIRED_MAX,
    Configuration,
    Joining,
    Member,
    decode,
)


def member(id_, directory=0, address=""):
    return Member(id_, f"{id_}-{directory}".ljust(32, "0"), address or f"{id_.lower()}:1")


def cluster(*ids):
    return Configuration.of_voters(tuple(member(i) for i in ids))


TRIO = cluster("K1", "K2", "K3")


def refusal(change, *args, **options):
    with pytest.raises(ChangeRefused) as caught:
        change(*args, **options)
    return str(caught.value)


def test_an_added_node_learns_and_is_to_vote():
    grown = changes.added(TRIO, member("K4"))
    assert (grown.voters, grown.learners) == (("K1", "K2", "K3"), ("K4",))
    assert grown.joining == (Joining("K4"),)
    assert changes.added(TRIO, member("K4"), joining=False).joining == ()


def test_a_promoted_learner_votes_and_has_joined():
    grown = changes.promoted(changes.added(TRIO, member("K4")), "K4")
    assert (grown.voters, grown.learners, grown.joining) == (("K1", "K2", "K3", "K4"), (), ())


def test_a_removed_member_is_retired():
    smaller = changes.removed(TRIO, "K2")
    assert [m.id for m in smaller.members] == ["K1", "K3"]
    assert smaller.voters == ("K1", "K3")
    assert smaller.retired == (member("K2").incarnation,)
    again = refusal(changes.added, smaller, member("K2"))
    assert "wipe the data directory" in again
    assert changes.added(smaller, member("K2", 1)).learners == ("K2",)


def test_a_demoted_voter_stays_a_learner():
    smaller = changes.demoted(TRIO, "K2")
    assert (smaller.voters, smaller.learners, smaller.joining) == (("K1", "K3"), ("K2",), ())
    assert "a learner already" in refusal(changes.demoted, smaller, "K2")


def test_to_demote_a_joining_learner_takes_its_prospect():
    joining = changes.added(TRIO, member("K4"))
    assert changes.demoted(joining, "K4") == changes.added(TRIO, member("K4"), joining=False)


def test_a_learner_that_is_to_take_the_place_of_a_voter_is_not_demoted():
    """Seed 72019: where it had taken the place already, the voter was gone; in another group it stayed."""
    joining = changes.replaced(TRIO, "K1", member("K4"))
    assert refusal(changes.demoted, joining, "K4") == (
        "K4 is on its way to take the place of K1: wait until it votes, or take it back with KRAFT REMOVE K4"
    )


def test_other_members_vote_in_one_step():
    five = changes.voting(cluster("K1", "K2", "K3", "K4", "K5"), ("K2", "K5", "K4"))
    assert (five.voters, five.learners, five.joining) == (("K2", "K4", "K5"), ("K1", "K3"), ())
    assert changes.voting(five, ("K1", "K2", "K3")).voters == ("K1", "K2", "K3")
    assert "K9 is not a member" in refusal(changes.voting, five, ("K1", "K9"))
    assert "needs a voter" in refusal(changes.voting, five, ())


def test_who_was_promised_a_vote_does_not_lose_it_to_others():
    replacing = changes.replaced(TRIO, "K2", member("K4"))
    assert "K4 is on its way to a vote" in refusal(changes.voting, replacing, ("K1", "K3"))


def test_a_new_address_changes_nothing_else():
    moved = changes.readdressed(TRIO, "K2", "elsewhere:9")
    assert moved.member("K2") == Member("K2", member("K2").incarnation, "elsewhere:9")
    assert moved.voters == TRIO.voters
    assert "already" in refusal(changes.readdressed, moved, "K2", "elsewhere:9")
    assert "address of K1" in refusal(changes.readdressed, TRIO, "K2", "k1:1")


def test_another_node_takes_the_place_of_a_voter_when_it_has_caught_up():
    """In two steps: the new one learns beside the old one, then one joint change swaps them."""
    first = changes.replaced(TRIO, "K2", member("K4"))
    assert (first.voters, first.joining) == (TRIO.voters, (Joining("K4", "K2"),))
    second = changes.promoted(first, "K4")
    assert (second.voters, second.learners) == (("K1", "K3", "K4"), ())
    assert second.retired == (member("K2").incarnation,)


def test_a_wiped_node_loses_its_vote_until_it_has_caught_up():
    first = changes.replaced(TRIO, "K2", member("K2", 1))
    assert (first.voters, first.learners, first.joining) == (("K1", "K3"), ("K2",), (Joining("K2"),))
    assert first.retired == (member("K2").incarnation,)
    assert first.member("K2") == member("K2", 1)
    assert changes.promoted(first, "K2").voters == TRIO.voters


def test_a_learner_is_replaced_at_once():
    learning = changes.added(TRIO, member("K4"), joining=False)
    after = changes.replaced(learning, "K4", member("K5"))
    assert (after.voters, after.learners, after.joining) == (TRIO.voters, ("K5",), ())
    assert after.retired == (member("K4").incarnation,)


def test_a_successor_that_is_replaced_itself_hands_on_what_it_was_to_do():
    first = changes.replaced(TRIO, "K2", member("K4"))
    after = changes.replaced(first, "K4", member("K5"))
    assert after.joining == (Joining("K5", "K2"),)
    wiped = changes.replaced(first, "K4", member("K4", 1))
    assert wiped.joining == (Joining("K4", "K2"),)


def test_who_was_removed_meanwhile_needs_no_replacement():
    first = changes.replaced(TRIO, "K2", member("K4"))
    assert changes.removed(first, "K2").joining == (Joining("K4"),)
    assert changes.promoted(changes.removed(first, "K2"), "K4").voters == ("K1", "K3", "K4")


def test_the_last_voter_cannot_go():
    alone = changes.added(cluster("K1"), member("K2"))
    assert "last voter" in refusal(changes.removed, alone, "K1")
    assert "last voter" in refusal(changes.demoted, alone, "K1")
    assert "last voter" in refusal(changes.replaced, alone, "K1", member("K1", 1))


def test_the_last_voter_can_be_replaced_by_another_node():
    first = changes.replaced(cluster("K1"), "K1", member("K2"))
    assert changes.promoted(first, "K2").voters == ("K2",)


@pytest.mark.parametrize(
    "change",
    [
        lambda: changes.removed(TRIO, "K9"),
        lambda: changes.promoted(TRIO, "K9"),
        lambda: changes.demoted(TRIO, "K9"),
        lambda: changes.readdressed(TRIO, "K9", "a:1"),
        lambda: changes.replaced(TRIO, "K9", member("K4")),
        lambda: changes.added(TRIO, member("K4"), replaces="K9"),
    ],
)
def test_an_unknown_id_is_answered_with_the_known_ones(change):
    assert refusal(change) == "K9 is not a member; the members are K1, K2, K3"


def test_what_is_so_already_is_said_kindly():
    assert refusal(changes.promoted, TRIO, "K2") == "K2 is a voter already"
    assert refusal(changes.added, TRIO, member("K2")) == "K2 is a member already, a voter"
    assert "nothing to replace" in refusal(changes.replaced, TRIO, "K2", member("K2"))
    assert "K3 is a voter already" in refusal(changes.replaced, TRIO, "K2", member("K3"))


def test_a_known_id_with_another_directory_is_led_to_replace():
    assert "KRAFT REPLACE K2 K2 k2:1" in refusal(changes.added, TRIO, member("K2", 1))


def test_a_copied_directory_and_a_taken_address_are_refused():
    copy = Member("K4", member("K2").incarnation, "k4:1")
    assert "copy of the data directory of K2" in refusal(changes.added, TRIO, copy)
    assert "address of K2" in refusal(changes.added, TRIO, member("K4", address="k2:1"))
    assert changes.replaced(TRIO, "K2", member("K2", 1)).member("K2") == member("K2", 1)


def test_one_successor_at_a_time():
    first = changes.replaced(TRIO, "K2", member("K4"))
    assert "KRAFT REMOVE K4" in refusal(changes.replaced, first, "K2", member("K5"))
    assert "KRAFT REMOVE K4" in refusal(changes.replaced, first, "K2", member("K2", 1))


def test_a_joint_configuration_is_left_alone():
    joint = Configuration(TRIO.members, TRIO.voters, target=changes.removed(TRIO, "K3"))
    for text in (
        refusal(changes.added, joint, member("K4")),
        refusal(changes.removed, joint, "K2"),
        refusal(changes.promoted, joint, "K2"),
        refusal(changes.demoted, joint, "K2"),
        refusal(changes.readdressed, joint, "K2", "a:1"),
        refusal(changes.replaced, joint, "K2", member("K4")),
    ):
        assert "under way" in text


def test_there_is_a_bound_on_members():
    full = cluster(*(f"N{i}" for i in range(MEMBERS_MAX)))
    assert "64 members" in refusal(changes.added, full, member("K1"))


def test_there_is_a_bound_on_what_is_remembered_of_former_members():
    retired = tuple(f"{i:032x}" for i in range(RETIRED_MAX))
    old = Configuration(TRIO.members, TRIO.voters, retired=retired)
    assert "retired" in refusal(changes.removed, old, "K3")


# Against the plainest model: who is there, and in which role


class Model:
    """id -> [directory, "voter" | "learner" | ("joining", replaces)]; refuses by returning False."""

    def __init__(self, ids):
        self.there: dict = {i: [0, "voter"] for i in ids}
        self.gone = set()

    def voters(self):
        return [i for i, (_, role) in self.there.items() if role == "voter"]

    def leave(self, id_):
        self.gone.add((id_, self.there.pop(id_)[0]))
        for entry in self.there.values():
            if entry[1] == ("joining", id_):
                entry[1] = ("joining", "")

    def add(self, id_, directory, joining):
        if id_ in self.there or (id_, directory) in self.gone:
            return False
        self.there[id_] = [directory, ("joining", "") if joining else "learner"]
        return True

    def remove(self, id_):
        if id_ not in self.there or self.voters() == [id_]:
            return False
        self.leave(id_)
        return True

    def promote(self, id_):
        if id_ not in self.there or self.there[id_][1] == "voter":
            return False
        role = self.there[id_][1]
        self.there[id_][1] = "voter"
        if role != "learner" and role[1]:
            self.leave(role[1])
        return True

    def demote(self, id_):
        if id_ not in self.there or self.voters() == [id_] or self.there[id_][1] == "learner":
            return False
        if any(self.there[id_][1] == ("joining", old) for old in self.there):
            return False
        self.there[id_][1] = "learner"
        return True

    def take_over(self, old, new, directory):
        if self.there[new][0] != directory or self.there[new][1] == "voter" or self.there[old][1] != "voter":
            return False
        if any(role == ("joining", old) for _, role in self.there.values()):
            return False
        self.there[new][1] = "voter"
        self.leave(old)
        return True

    def replace(self, old, new, directory):
        if old not in self.there or (new, directory) in self.gone:
            return False
        if new != old and new in self.there:
            return self.take_over(old, new, directory)
        directory_before, role = self.there[old]
        taken = any(r == ("joining", old) for _, r in self.there.values())
        if (old == new and directory == directory_before) or (role == "voter" and taken):
            return False
        if role == "voter" and old != new:
            self.there[new] = [directory, ("joining", old)]
        elif role == "voter":
            if self.voters() == [old]:
                return False
            self.gone.add((old, directory_before))
            self.there[old] = [directory, ("joining", "")]
        else:
            others = {i: [*e] for i, e in self.there.items() if i != old}
            self.leave(old)
            if old == new:
                self.there = others
            self.there[new] = [directory, role]
        return True


IDS = st.sampled_from(["K1", "K2", "K3", "K4", "K5"])
DIRECTORIES = st.integers(0, 2)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), IDS, DIRECTORIES, st.booleans()),
        st.tuples(st.just("remove"), IDS),
        st.tuples(st.just("promote"), IDS),
        st.tuples(st.just("demote"), IDS),
        st.tuples(st.just("replace"), IDS, IDS, DIRECTORIES),
    ),
    max_size=12,
)


def changed(c, name, *args):
    if name == "add":
        id_, directory, joining = args
        return changes.added(c, member(id_, directory), joining=joining)
    if name == "replace":
        old, new, directory = args
        return changes.replaced(c, old, member(new, directory))
    return {"remove": changes.removed, "promote": changes.promoted, "demote": changes.demoted}[name](c, *args)


def outcome(c, *step):
    """The target, or None when it is refused."""
    try:
        return changed(c, *step)
    except ChangeRefused:
        return None


def check_sane(c):
    assert c.fault() is None
    ids = [m.id for m in c.members]
    assert c.members == tuple(sorted(c.members))
    assert len(set(ids)) == len(ids)
    assert c.voters
    assert c.voters == tuple(sorted(c.voters))
    assert c.learners == tuple(sorted(c.learners))
    assert sorted((*c.voters, *c.learners)) == sorted(ids)
    assert c.retired == tuple(sorted(set(c.retired)))
    assert not {m.incarnation for m in c.members} & set(c.retired)
    assert {j.id for j in c.joining} <= set(c.learners)
    assert {j.replaces for j in c.joining} <= {"", *ids}
    assert c.joining == tuple(sorted(c.joining))
    assert not c.joint
    assert decode(c.encode()) == c


@given(st.sampled_from([("K1",), ("K1", "K2"), ("K1", "K2", "K3")]), STEPS)
def test_any_sequence_of_changes_means_what_the_model_says(ids, steps):
    c, model = cluster(*ids), Model(ids)
    for step in steps:
        after = outcome(c, *step)
        assert getattr(model, step[0])(*step[1:]) == (after is not None), step
        c = after or c
        check_sane(c)
        assert c.members == tuple(sorted(member(i, d) for i, (d, _) in model.there.items()))
        assert list(c.voters) == sorted(model.voters())
        assert c.joining == tuple(
            sorted(Joining(i, r[1]) for i, (_, r) in model.there.items() if isinstance(r, tuple))
        )
        assert set(c.retired) == {member(*gone).incarnation for gone in model.gone}


def test_a_learner_takes_the_place_of_a_voter_in_one_step():
    """A hot spare: it votes and the other leaves in the same change; an older promise is dropped."""
    c = changes.added(TRIO, member("K5"), joining=False)
    after = changes.replaced(c, "K2", member("K5"))
    assert (after.voters, after.learners) == (("K1", "K3", "K5"), ())
    assert member("K2").incarnation in after.retired

    promised = changes.replaced(TRIO, "K3", member("K5"))
    assert changes.replaced(promised, "K2", member("K5")).joining == ()
    told = refusal(changes.replaced, promised, "K3", member("K5"))
    assert told == "K5 is on its way to take the place of K3 already: it votes once it has caught up"
    taken = changes.replaced(changes.added(TRIO, member("K4"), joining=False), "K2", member("K6"))
    assert "K6 is on its way to take the place of K2" in refusal(changes.replaced, taken, "K2", member("K4"))
