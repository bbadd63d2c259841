"""Curves of a training for TensorBoard. Its files hold wall times and host names, so they are no output of a stage."""

import contextlib
import time
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


class Rate:
    """How fast a training goes."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None

    def images_per_second(self, images_seen: float) -> float | None:
        """Between the last call and this one; None at the first, since a continued run has seen images before."""
        now, before = time.monotonic(), self._last
        self._last = (now, images_seen)
        return None if before is None else (images_seen - before[1]) / max(now - before[0], 1e-9)
