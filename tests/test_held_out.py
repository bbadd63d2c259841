"""Facts about the benchmark that decides a classifier's rates by counterfactuals of held-out images."""

import json
from pathlib import Path

import pytest
from tiny_pipeline import Project

from benchmarks import held_out
from cgn.checkpoints import FILE_NAME
from cgn.config import load_params
from cgn.shards import read_split


def test_held_out_counterfactuals_keep_the_digits_that_no_training_saw(finished: Project) -> None:
    checkpoint = finished.root / "checkpoints" / "cgn" / FILE_NAME
    made = held_out._held_out(finished.real, checkpoint, load_params(finished.params), "double_colored", 0)
    digits = made.labels.unflatten(0, (-1, held_out._PER_ORIGINAL))  # as the percentages count them
    assert digits.eq(digits[:, :1]).all()
    assert digits[:, 0].bincount().equal(read_split(finished.real, "val").labels.bincount())
    again = held_out._held_out(finished.real, checkpoint, load_params(finished.params), "double_colored", 0)
    assert made.pixels.equal(again.pixels)


def test_values_are_compared_on_the_same_digits(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finished.link_as_in_a_clone(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["held_out", "--values", "1.0", "0.1"])
    held_out.main()
    found = json.loads(capsys.readouterr().out)
    assert found["digits"] == len(read_split(finished.real, "val").labels)
    assert found["gain"]["0.1"]["mean"] == pytest.approx(
        found["read_right_percent"]["0.1"] - found["read_right_percent"]["1"], abs=0.02
    )
    assert found["gain"]["0.1"]["standard_error"] > 0


@pytest.mark.parametrize(
    ("argv", "said"), [(["--field", "lr"], "expected learning rates"), (["--values", "0"], "expected numbers above 0")]
)
def test_values_that_are_no_rates_are_refused(
    argv: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["held_out", *argv])
    with pytest.raises(SystemExit, match="2"):
        held_out.main()
    assert said in capsys.readouterr().err
