"""Driving a training run: progress, the scalars table, and a resume state that survives a kill."""

import csv
import hashlib
import io
import json
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cgn.checkpoints import load_state, save_state
from cgn.config import ClassifierBudget, Compute
from cgn.training import Record, Training
from stages.listing import PACKAGES, ROOT, digest

log = logging.getLogger(__name__)

_SAVE_EVERY_SECONDS = 15.0
_SAY_EVERY_SECONDS = 5.0


def set_compute(compute: Compute) -> None:
    """Set what changes the last bits and the speed of arithmetic, as params.yaml says."""
    torch.set_num_threads(compute.threads)
    torch.set_flush_denormal(True)
    # Otherwise threads add up the gradient of an indexed tensor in whichever order they come.
    torch.use_deterministic_algorithms(True)
    # Else every new tensor is filled with NaN first, a tenth of the time; nothing here reads what it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def rates(budget: ClassifierBudget, *, plain_area_lr_share: float) -> dict[str, Any]:
    """A classifier's budget as its checkpoint records it; an ordinary first layer, of share 1, goes without saying."""
    slow = {"plain_area_lr_share": plain_area_lr_share} if plain_area_lr_share < 1 else {}
    return {**budget.model_dump(), **slow}


def _code_hash() -> str:
    """A hash of what the library's and the stages' code does: a state that other code has left is not continued."""
    files = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    text = "".join(f"{path.relative_to(ROOT).as_posix()} {digest(path)}\n" for path in files)
    return hashlib.sha256(text.encode()).hexdigest()


class Scratch:
    """A folder for the resume state of one training run, found again by the hash of all its inputs."""

    def __init__(self, root: Path, inputs: dict[str, Any]) -> None:
        text = json.dumps({"code": _code_hash(), **inputs}, sort_keys=True, default=str)
        self.folder = root / hashlib.sha256(text.encode()).hexdigest()[:24]

    @property
    def state(self) -> Path:
        """Where the state is kept."""
        return self.folder / "state.pt"

    def clear(self) -> None:
        """Forget the run, once its outputs are in place."""
        shutil.rmtree(self.folder, ignore_errors=True)


def drive(training: Training, scratch: Scratch, *, observe: Callable[[Record], None] = lambda _: None) -> list[Record]:
    """Train to the end, from where an earlier process was stopped if it was, and return every record; `observe` sees each."""
    records: list[Record] = []
    if (state := load_state(scratch.state)) is not None and {"training", "records"} <= set(state):
        training.load_state_dict(state["training"])
        records = state["records"]
        log.info("resumed at step %d of %d", training.step, training.num_steps)
    started = saved = said = time.monotonic()
    first_step = training.step
    for record in training.records():
        records.append(record)
        observe(record)
        now = time.monotonic()
        if now - said > _SAY_EVERY_SECONDS or training.step == training.num_steps:
            per_second = (training.step - first_step) / (now - started)
            left = (training.num_steps - training.step) / per_second
            numbers = "  ".join(f"{name} {value:.3g}" for name, value in record.items() if name not in ("step", "lr"))
            log.info("step %d of %d, %.0f s left: %s", training.step, training.num_steps, left, numbers)
            said = now
        if now - saved > _SAVE_EVERY_SECONDS:
            save_state(scratch.state, {"training": training.state_dict(), "records": records})
            saved = now
    return records


def scalars_csv(records: list[Record]) -> str:
    """The records as CSV, in their own column order."""
    text = io.StringIO()
    rows = csv.DictWriter(text, fieldnames=list(records[0]), lineterminator="\n")
    rows.writeheader()
    rows.writerows(
        {name: value if isinstance(value, int) else f"{value:.6g}" for name, value in record.items()}
        for record in records
    )
    return text.getvalue()
