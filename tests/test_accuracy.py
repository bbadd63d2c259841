"""Facts about the metrics of predictions, and the published ones beside them."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from cgn.errors import InputError
from cgn.evaluation import accuracy as metrics
from cgn.evaluation import paper
from cgn.mnist import NUM_CLASSES
from cgn.schemas import PREDICTIONS_SCHEMA
from stages import score as score_stage


def predictions(
    predicted: Sequence[int] = (0, 1, 1, 3),
    *,
    shape: Sequence[int] = (0, 0, 1, 1),
    texture: Sequence[int] = (5, 1, 5, 3),
    background: Sequence[int | None] = (0, 1, 1, 9),
    low_contrast: Sequence[bool] = (False, True, False, False),
    confidence: Sequence[float] = (0.5, 0.5, 0.5, 0.5),
    test_set: Sequence[str] = ("train", "train", "test", "test"),
) -> pa.Table:
    n = len(predicted)
    columns = {
        "key": [str(i) for i in range(n)],
        "test_set": list(test_set)[:n],
        "head": ["shape"] * n,
        "seed": [0] * n,
        "shape": list(shape)[:n],
        "texture": list(texture)[:n],
        "background": list(background)[:n],
        "low_contrast": list(low_contrast)[:n],
        "predicted": list(predicted),
        "confidence": list(confidence)[:n],
    }
    return pa.table(columns, schema=PREDICTIONS_SCHEMA)


def test_accuracies_count_what_was_predicted() -> None:
    table = predictions((0, 1, 1, 3), shape=(0, 0, 0, 1))
    assert metrics.accuracy(table) == 0.25
    assert metrics.texture_agreement(table) == 0.5
    assert metrics.background_agreement(table) == 0.75


def every_class(**columns: Sequence[object]) -> pa.Table:
    """Two images of every class in each of two test sets; of class 3 one is read right, of the others both."""
    shape = [*range(NUM_CLASSES)] * 4
    predicted = [*shape[:-7], 0, *shape[-6:]]
    usual = {
        "shape": shape,
        "texture": [0] * len(shape),
        "background": [1] * len(shape),
        "low_contrast": [index % 2 == 0 for index in range(len(shape))],
        "confidence": [0.5] * len(shape),
        "test_set": ["train"] * 20 + ["test"] * 20,
    }
    return predictions(predicted, **{**usual, **columns})  # type: ignore[arg-type]


def test_the_worst_class_is_the_one_with_the_lowest_accuracy() -> None:
    table = every_class().slice(20)
    assert metrics.accuracy_per_class(table) == [1.0, 1.0, 1.0, 0.5] + [1.0] * 6
    assert metrics.worst_class_accuracy(table) == 0.5


def test_a_class_without_images_is_named() -> None:
    some = every_class().filter(pc.less(every_class()["shape"], 8))
    with pytest.raises(InputError, match=r"^worst_class_accuracy: found 32 images, none of class 8, 9 in column shape"):
        metrics.worst_class_accuracy(some)
    with pytest.raises(InputError, match=r"^train\.worst_class_accuracy: .* `dvc repro predict`"):
        metrics.score(some)


def test_a_small_validation_split_may_lack_a_class() -> None:
    table = every_class(test_set=["train"] * 20 + ["test"] * 10 + ["val"] * 10).slice(0, 33)
    scores = metrics.score(table)
    assert {"worst_class_accuracy", "accuracy_per_class"} == set(scores["test"]) - set(scores["val"])


def test_low_contrast_and_distinct_split_the_images() -> None:
    assert metrics.low_contrast(predictions()) == {"accuracy": 0.0, "num_images": 1}
    assert metrics.distinct(predictions()) == {"accuracy": 2 / 3, "num_images": 3}


@pytest.mark.parametrize(
    ("confidence", "error"),
    [
        ((0.5, 0.5, 0.5, 0.5), 0.0),  # one bin, half of it right
        ((1.0, 1.0, 1.0, 1.0), 0.5),
        ((1.0, 0.0, 1.0, 0.0), 0.0),  # sure where right, none where wrong; 0 belongs to the first bin
        ((0.75, 0.25, 0.75, 0.25), 0.25),
    ],
)
def test_calibration_error_is_the_gap_of_accuracy_and_confidence(confidence: Sequence[float], error: float) -> None:
    assert metrics.calibration_error(predictions(confidence=confidence)) == pytest.approx(error, abs=1e-7)


def test_calibration_error_refuses_what_is_no_probability() -> None:
    for value in (1.5, float("nan")):
        with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
            metrics.calibration_error(predictions(confidence=(value, 0.5, 0.5, 0.5)))


@pytest.mark.parametrize("name", metrics.METRICS)
def test_no_metric_is_defined_on_an_empty_table(name: str) -> None:
    with pytest.raises(ValueError, match=r"empty table .* `dvc repro predict`"):
        metrics.METRICS[name](predictions().slice(0, 0))


def test_background_agreement_is_undefined_without_backgrounds() -> None:
    with pytest.raises(ValueError, match="4 of 4 images without a background class"):
        metrics.background_agreement(predictions(background=(None,) * 4))


def test_score_leaves_out_what_a_data_set_does_not_define() -> None:
    plain = metrics.score(every_class(background=[None] * 40, low_contrast=[False] * 40))
    assert set(metrics.METRICS) - set(plain["test"]) == {"background_agreement", "low_contrast", "distinct"}
    mixed = metrics.score(every_class(low_contrast=[index % 2 == 0 or index >= 20 for index in range(40)]))
    assert set(mixed["train"]) == set(metrics.METRICS)
    assert set(metrics.METRICS) - set(mixed["test"]) == {"distinct"}


def test_score_needs_train_and_test() -> None:
    with pytest.raises(ValueError, match=r"found predictions for train, .* test is missing"):
        metrics.score(predictions(test_set=("train",) * 4))


def test_scoring_does_not_wait_for_torch() -> None:
    code = "import sys, stages.score; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=False).returncode == 0


def test_the_score_stage_writes_the_metrics_of_every_test_set(tmp_path: Path) -> None:
    pq.write_table(every_class(), tmp_path / "cell.parquet")
    score_stage.main(["--predictions", str(tmp_path / "cell.parquet"), "--out", str(tmp_path / "cell.json")])
    scores = json.loads((tmp_path / "cell.json").read_text())
    assert [scores[name]["accuracy"] for name in ("train", "test")] == [1.0, 0.95]
    assert scores["test"]["accuracy_per_class"] == [1.0, 1.0, 1.0, 0.5] + [1.0] * 6


def test_published_figures_are_fractions_and_absent_where_not_held() -> None:
    assert paper.published("original_cf", "fast", "wildlife") == (0.992, 0.857, paper.QUOTED)
    assert paper.published("cf_only", "authors_code", "colored") is None
    assert paper.reproduced("cf_only", "authors_code", "colored") == {
        "B": (0.994, 0.923, paper.RERUN),
        "A": (0.987, 0.4388, paper.FROM_SCRATCH),
    }
    assert paper.reproduced("original", None, "wildlife") == {"B": (1.0, 0.108, paper.RERUN)}
    assert paper.reproduced("oracle", None, "wildlife") == paper.reproduced("cf_only", "cut_paste", "colored") == {}
    assert paper.published("oracle", None, "colored") is None
    assert paper.published("original_cf", "gan", "colored") == (0.998, 0.407, paper.QUOTED)
    assert paper.published("original_cf", "cut_paste", "colored") is None
