"""Work in several processes that train together, started here or by torchrun: one per GPU, or on a CPU side by side."""

import logging
import os
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

    Where torchrun has started this one beside others, it is one of them. Where one fails, the others are ended.
    Raises: its InputError or OSError; else torch's error with its traceback.
    """
    if distributed.is_torchelastic_launched():
        _join(num, work)
        return
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


def _join(num: int, work: Work) -> None:
    """Do this process's part of what torchrun has started."""
    found = int(os.environ["WORLD_SIZE"])
    if num != found:
        raise InputError(f"num_processes: found {num}, expected {found}, as many as torchrun has started")
    _meet(int(os.environ["RANK"]), num, "env://", work, on_gpu=int(os.environ["LOCAL_RANK"]))


def _rank(rank: int, num: int, meeting: Path, failures: Any, work: Work) -> None:
    """What a process does: meet the others at a file, work, and say what of its failure is the reader's to mend."""
    logging.basicConfig(level=logging.WARNING if rank else logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        _meet(rank, num, meeting.as_uri(), work, on_gpu=rank)
    except (InputError, OSError) as error:
        failures.put(error)
        raise


def _meet(rank: int, num: int, where: str, work: Work, *, on_gpu: int) -> None:
    """Wait for the other processes, and work with them; the GPU is this process's, where there are any."""
    on_gpus = torch.cuda.is_available()
    if on_gpus:
        torch.cuda.set_device(on_gpu)
    distributed.init_process_group("nccl" if on_gpus else "gloo", init_method=where, rank=rank, world_size=num)
    work(Ranks(rank, num))
    distributed.destroy_process_group()
