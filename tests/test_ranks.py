"""Facts about processes that train together: their rows, their sums, and errors that come through."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from isolation import ROOT

from cgn.errors import InputError
from cgn.ranks import ALONE, Ranks
from stages.ranks import run_ranks


@given(size=st.integers(1, 200), num=st.integers(1, 32))
def test_every_row_is_one_processs_and_none_has_many_more_than_another(size: int, num: int) -> None:
    shares = [Ranks(rank, num).rows(size) for rank in range(num)]
    assert [row for rows in shares for row in rows] == list(range(size))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_one_process_is_its_own_sum() -> None:
    tensor = torch.tensor([1.0, 2.0])
    ALONE.add_up([tensor])
    assert tensor.tolist() == [1, 2]
    assert ALONE.all_have(7, torch.device("cpu"))


def one_fails(ranks: Ranks) -> None:
    """Sums are taken of both; then the second process fails while the first waits for it."""
    turned = torch.arange(6.0).view(2, 3).t() * (ranks.rank + 1)  # its rows are not neighbours in memory
    ranks.add_up([turned])
    assert turned.tolist() == [[0, 9], [3, 12], [6, 15]]
    assert ranks.all_have(3, turned.device)
    assert not ranks.all_have(ranks.rank, turned.device)
    if ranks.rank == 1:
        raise InputError("micro_batch: found 8, for which the device has too little memory")
    ranks.add_up([turned])


def test_what_ended_one_process_ends_all_and_is_what_the_user_reads() -> None:
    with pytest.raises(InputError, match="micro_batch: found 8, for which the device has too little memory"):
        run_ranks(2, one_fails)


def write_sum(ranks: Ranks) -> None:
    """What every process has of a sum over all."""
    total = torch.tensor([1.0 + ranks.rank])
    ranks.add_up([total])
    Path(os.environ["SUMS"], str(ranks.rank)).write_text(f"{total.item()} of {ranks.num}", encoding="utf-8")


def under_torchrun(num: int, folder: Path) -> subprocess.CompletedProcess[str]:
    """Two processes of torchrun that say that they are `num`."""
    program = folder / "program.py"
    program.write_text(
        f"from stages.ranks import run_ranks\nfrom test_ranks import write_sum\nrun_ranks({num}, write_sum)\n"
    )
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(program)],
        env={**os.environ, "PYTHONPATH": paths, "SUMS": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_processes_of_torchrun_train_together(tmp_path: Path) -> None:
    done = under_torchrun(2, tmp_path)
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / str(rank)).read_text(encoding="utf-8") for rank in (0, 1)] == ["3.0 of 2", "3.0 of 2"]


def test_as_many_processes_as_torchrun_has_started_are_expected(tmp_path: Path) -> None:
    done = under_torchrun(1, tmp_path)
    assert done.returncode
    assert "num_processes: found 1, expected 2, as many as torchrun has started" in done.stderr
