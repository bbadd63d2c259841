"""Starting work in several processes that train together: one per GPU, or on a CPU side by side."""

import logging
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

from cgn.checkpoints import load_state
from cgn.config import ConfigError
from cgn.errors import InputError
from cgn.ranks import ALONE, Ranks
from cgn.training import Training
from stages.training import Scratch

Work = Callable[[Ranks], None]


def check_processes(num: int, field: str) -> None:
    """Raises: ConfigError where there are GPUs, but fewer than the processes that `field` of params.yaml asks for."""
    found = torch.cuda.device_count()
    if torch.cuda.is_available() and num > found:
        raise ConfigError(f"{field}: found {num}, expected at most {found}, as many as GPUs are here", field)


def run_ranks(num: int, work: Work) -> None:
    """Run `work`, which pickle must know, in so many processes under torch.distributed and wait for all; one is this process.

    Where one fails, the others are ended. Raises: its InputError or OSError; else torch's error with its traceback.
    """
    if num == 1:
        work(ALONE)
        return
    with tempfile.TemporaryDirectory() as folder:
        failures = multiprocessing.get_context("spawn").SimpleQueue()
        given = (num, Path(folder) / "meeting", failures, work)
        processes = start_processes(_rank, given, num, join=False, start_method="spawn")
        try:
            while not processes.join():
                pass
        except (ProcessExitedException, ProcessRaisedException) as error:
            if failures.empty():
                raise
            raise failures.get() from error


def train_along(training: Training, scratch: Scratch) -> None:
    """Train beside the first process, from the state that it goes on from."""
    # The first process writes no state before a step is done, which no process does alone: so all read the same one.
    if (state := load_state(scratch.state)) is not None and {"training", "records"} <= set(state):
        training.load_state_dict(state["training"])
    for _ in training.records():
        pass


def _rank(rank: int, num: int, meeting: Path, failures: Any, work: Work) -> None:
    """What a process does: meet the others at a file, work, and say what of its failure is the reader's to mend."""
    logging.basicConfig(level=logging.WARNING if rank else logging.INFO, format="%(message)s", stream=sys.stderr)
    on_gpus = torch.cuda.is_available()
    if on_gpus:
        torch.cuda.set_device(rank)
    distributed.init_process_group(
        "nccl" if on_gpus else "gloo", init_method=meeting.as_uri(), rank=rank, world_size=num
    )
    try:
        work(Ranks(rank, num))
    except (InputError, OSError) as error:
        failures.put(error)
        raise
    distributed.destroy_process_group()
