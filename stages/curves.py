"""Curves of a training for TensorBoard. Its files hold wall times and host names, so they are no output of a stage."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from cgn.training import Record


@contextlib.contextmanager
def curves(folder: Path) -> Iterator[Callable[[Record], None]]:
    """A function that adds a record to the curves in a folder, where a continued run goes on from its own step."""
    writers: list[SummaryWriter] = []

    def add(record: Record) -> None:
        step = int(record["step"])
        if not writers:
            writers.append(SummaryWriter(str(folder), purge_step=step))
        for name, value in record.items():
            if name != "step":
                writers[0].add_scalar(name, value, step)
        writers[0].flush()  # a step may take minutes

    try:
        yield add
    finally:
        for writer in writers:
            writer.close()
