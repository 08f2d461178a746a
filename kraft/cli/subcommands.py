"""The subcommands of `kraft`: name, summary, and the module that declares the options and runs it.

A module is imported when its options are needed: that of the subcommand that was typed, or all of them for
completion scripts and man pages. So `kraft get` does not wait for Twisted or SQLite.
"""

from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Subcommand:
    """`declare` gives a parser the description, the options and `run`."""

    name: str
    summary: str
    declare: Callable[[ArgumentParser], None]


def _demo(parser: ArgumentParser) -> None:
    from kraft.cli import demo

    demo.declare(parser)


def _status(parser: ArgumentParser) -> None:
    from kraft.cli import status

    status.declare(parser)


def _shell(parser: ArgumentParser) -> None:
    from kraft.cli.shell import command

    command.declare(parser)


def _get(parser: ArgumentParser) -> None:
    from kraft.cli import data

    data.declare_get(parser)


def _set(parser: ArgumentParser) -> None:
    from kraft.cli import data

    data.declare_set(parser)


def _del(parser: ArgumentParser) -> None:
    from kraft.cli import data

    data.declare_del(parser)


def _members(parser: ArgumentParser) -> None:
    from kraft.cli import administration

    administration.declare_members(parser)


def _groups(parser: ArgumentParser) -> None:
    from kraft.cli import groups

    groups.declare(parser)


def _moves(parser: ArgumentParser) -> None:
    from kraft.cli import slot_moves

    slot_moves.declare_moves(parser)


def _move(parser: ArgumentParser) -> None:
    from kraft.cli import slot_moves

    slot_moves.declare_move(parser)


def _split(parser: ArgumentParser) -> None:
    from kraft.cli import slot_moves

    slot_moves.declare_split(parser)


def _merge(parser: ArgumentParser) -> None:
    from kraft.cli import slot_moves

    slot_moves.declare_merge(parser)


def _rebalance(parser: ArgumentParser) -> None:
    from kraft.cli import placement

    placement.declare_rebalance(parser)


def _replication(parser: ArgumentParser) -> None:
    from kraft.cli import placement

    placement.declare_replication(parser)


def _add(parser: ArgumentParser) -> None:
    from kraft.cli import administration

    administration.declare_add(parser)


def _remove(parser: ArgumentParser) -> None:
    from kraft.cli import administration

    administration.declare_remove(parser)


def _replace(parser: ArgumentParser) -> None:
    from kraft.cli import administration

    administration.declare_replace(parser)


def _transfer(parser: ArgumentParser) -> None:
    from kraft.cli import administration

    administration.declare_transfer(parser)


def _drain(parser: ArgumentParser) -> None:
    from kraft.cli import administration

    administration.declare_drain(parser)


def _doctor(parser: ArgumentParser) -> None:
    from kraft.cli import doctor

    doctor.declare(parser)


def _check_config(parser: ArgumentParser) -> None:
    from kraft.cli import check

    check.declare(parser)


def _certs(parser: ArgumentParser) -> None:
    from kraft.cli import certs

    certs.declare(parser)


def _recover(parser: ArgumentParser) -> None:
    from kraft.cli import recover

    recover.declare(parser)


def _backup(parser: ArgumentParser) -> None:
    from kraft.cli import backup

    backup.declare(parser)


def _restore(parser: ArgumentParser) -> None:
    from kraft.cli import restore

    restore.declare(parser)


def _upgrade_check(parser: ArgumentParser) -> None:
    from kraft.cli import upgrade_check

    upgrade_check.declare(parser)


SUBCOMMANDS = (
    Subcommand("demo", "run a cluster on this machine", _demo),
    Subcommand("status", "show the state of a cluster", _status),
    Subcommand("shell", "type commands for the cluster", _shell),
    Subcommand("get", "print the value of a key", _get),
    Subcommand("set", "set the value of a key", _set),
    Subcommand("del", "delete keys", _del),
    Subcommand("members", "show the members of the cluster", _members),
    Subcommand("add", "make a standby node a member", _add),
    Subcommand("remove", "remove a member for good", _remove),
    Subcommand("replace", "replace a member by a standby node, in one step", _replace),
    Subcommand("transfer", "transfer leadership", _transfer),
    Subcommand("drain", "take all leadership away from a node", _drain),
    Subcommand("groups", "show the groups, their slots and their leaders", _groups),
    Subcommand("split", "divide the slots of a group among several", _split),
    Subcommand("merge", "move all slots of a group to another one", _merge),
    Subcommand("move", "move slots of a group to another one", _move),
    Subcommand("moves", "show the moves of slots between groups, or cancel one", _moves),
    Subcommand("rebalance", "even out slots among groups, or votes among nodes", _rebalance),
    Subcommand("replication", "show or set how many nodes vote in each group", _replication),
    Subcommand("doctor", "find problems of a node and its machine", _doctor),
    Subcommand("check-config", "check a configuration file", _check_config),
    Subcommand("backup", "make an image of all data, or look at images", _backup),
    Subcommand("restore", "make a new cluster from a backup", _restore),
    Subcommand("upgrade-check", "say whether the next upgrade is safe", _upgrade_check),
    Subcommand("certs", "make, renew and revoke certificates", _certs),
    Subcommand("recover", "make a new cluster from one survivor after a majority is lost", _recover),
)
