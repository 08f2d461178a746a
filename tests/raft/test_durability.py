"""The durable part of the log, when writes finish late and the log has changed meanwhile."""

from kraft.raft.log.durability import Durability


def test_a_finished_write_makes_durable_what_it_was_handed():
    account = Durability(3)
    assert account.begin(5) == (1, None)
    assert account.begin(6) == (2, None)
    assert account.durable == 3
    account.finish(1)
    assert (account.durable, account.writing) == (5, True)
    account.finish(2)
    assert (account.durable, account.writing) == (6, False)


def test_a_later_notice_covers_earlier_writes_and_repetition_changes_nothing():
    account = Durability(0)
    account.begin(1)
    account.begin(2)
    account.finish(2)
    account.finish(1)
    account.finish(2)
    assert account.durable == 2


def test_a_late_notice_for_replaced_entries_does_not_make_their_replacements_durable():
    account = Durability(3)
    old, _ = account.begin(6)
    account.truncate(5)
    new, truncate_from = account.begin(7)
    assert truncate_from == 5
    account.finish(old)
    assert account.durable == 4
    account.finish(new)
    assert account.durable == 7


def test_truncating_what_no_write_ever_had_needs_no_deletion():
    account = Durability(3)
    account.truncate(4)
    assert account.truncate_from is None
    assert account.begin(6) == (1, None)


def test_of_two_truncations_before_a_write_the_lower_one_counts():
    account = Durability(9)
    account.truncate(7)
    account.truncate(5)
    assert (account.durable, account.handed) == (4, 4)
    assert account.begin(6) == (1, 5)
    assert account.begin(6) == (2, None)
