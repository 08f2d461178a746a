"""Commands about backups: those that this node carries out itself, and what it lends to other nodes."""

from collections.abc import Callable
from functools import partial

import msgspec

from kraft.host.backup.lent_logs import LentLogs
from kraft.host.backup.pinned_images import Mark, PinnedImage, PinnedImages
from kraft.host.ports import BackupTaker
from kraft.node.admin import (
    AdminDone,
    CheckpointLoan,
    CloseCheckpoint,
    CloseImage,
    FindLogs,
    KeepCheckpoint,
    LogLoan,
    OpenImage,
    PinCheckpoint,
    ReadCheckpoint,
    ReadImage,
    ReadLog,
    TakeBackup,
)
from kraft.node.errors import AdminRefused
from kraft.node.values import Rows

PIECE_BYTES = 64 << 10  # of one reply: some milliseconds of work for the thread that reads it
NO_DIRECTORY = (
    "this node has no backup.directory: configure one, or fetch an image with kraft backup --to DIRECTORY"
)

ImageCommand = OpenImage | ReadImage | CloseImage | TakeBackup


class ImageCommands:
    """Carries them out. `taker` writes backups to a directory of this node, None if none is configured."""

    def __init__(self, images: PinnedImages, logs: LentLogs) -> None:
        self.taker: BackupTaker | None = None
        self._logs = logs
        self._images = images

    def do(self, command: ImageCommand, mark: Mark, done: AdminDone) -> None:
        """Carry out `command`; `done` gets the outcome. `mark` lets every replica take a checkpoint."""
        match command:
            case OpenImage():
                self._images.open(mark, partial(_opened, done))
            case ReadImage():
                self._read(command, done)
            case CloseImage():
                self._images.close(command.token)
                done("OK")
            case TakeBackup() if self.taker is not None:
                self.taker.take(command.name, done)
            case _:
                done(AdminRefused(NO_DIRECTORY))

    def marked(self, group: int) -> None:
        """As `PinnedImages.marked`."""
        self._images.marked(group)

    def lend(self, group: int, command: CheckpointLoan | LogLoan, done: AdminDone) -> None:
        """Carry out a command of a node without the `group`, as its leader."""
        lent = self._images.lent
        match command:
            case PinCheckpoint():
                lent.pin(group, command, done)
            case ReadCheckpoint():
                lent.read(command, done)
            case KeepCheckpoint():
                lent.keep(command, done)
            case CloseCheckpoint():
                lent.close(command, done)
            case FindLogs():
                self._logs.find(command, done)
            case ReadLog():
                self._logs.read(group, command, done)

    def _read(self, command: ReadImage, done: AdminDone) -> None:
        image = self._images.find(command.token)
        if image is None:
            done(AdminRefused("no image with this token is open here: open another one"))
        elif command.group not in image.readers:
            done(AdminRefused(f"the image has no group {command.group}"))
        else:
            image.read(command.group, command.after, PIECE_BYTES, partial(_answer, done))


def _opened(done: Callable[[list[object] | Exception], None], image: PinnedImage | Exception) -> None:
    done(image if isinstance(image, Exception) else [image.token, msgspec.json.encode(image.head)])


def _answer(done: AdminDone, outcome: Rows | AdminRefused) -> None:
    if isinstance(outcome, AdminRefused):
        done(outcome)
    else:
        done([outcome.data, outcome.last, int(outcome.end)])
