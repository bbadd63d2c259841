"""Facts about prediction tables of classifiers of natural images: what is refused, and what numbers they give."""

import csv
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from cgn.data.imagenet9 import VARIANTS
from cgn.data.imagenet_classes import SIXTEEN
from cgn.errors import InputError
from cgn.evaluation.imagenet_predictions import (
    CHALLENGE,
    CHALLENGE_SCHEMA,
    HEADS,
    PREDICTIONS,
    PREDICTIONS_SCHEMA,
    WHOLE_SETS,
    head_rows,
    predictors_of,
    read_predictions,
    writing,
)
from cgn.evaluation.imagenet_scores import score
from cgn.evaluation.intervals import NUM_RESAMPLES, interval, resampled_counts
from cgn.evaluation.shape_bias import ShapeBias, decided_categories
from cgn.rng import stream

DECISIONS = Path(__file__).parents[2] / "shared/data/cue_conflict_decisions"
ABSENT = {
    **dict.fromkeys((*WHOLE_SETS, "cue_conflict", "released_in9", "challenge", "released_challenge"), "not there"),
    **{f"in9_{variant}": "not there" for variant in VARIANTS},
}


def table(
    folder: Path,
    parts: Sequence[dict[str, Any]],
    *,
    classes: str = "imagenet",
    heads: Sequence[str] = ("only",),
    there: Sequence[str] = (),
    challenge: dict[str, Any] | None = None,
    **metadata: Any,
) -> Path:
    """Both tables, of sets that are `there` for the metadata."""
    absent = {name: reason for name, reason in ABSENT.items() if name not in there}
    said = {"classes": classes, "heads": list(heads), "protocol": {}, "absent": absent, **metadata}
    folder.mkdir(exist_ok=True)
    with writing(folder / PREDICTIONS, PREDICTIONS_SCHEMA, said) as rows:
        for part in parts:
            rows.add(part)
    with writing(folder / CHALLENGE, CHALLENGE_SCHEMA, said) as rows:
        if challenge:
            rows.add(challenge)
    return folder


def photographs(labels: Sequence[int], logits: torch.Tensor, *, name: str = "val") -> dict[str, Any]:
    keys = [f"{name}-{number}" for number in range(len(labels))]
    return head_rows(name, keys, {"label": labels}, {"only": logits.half()})


def one_hot(classes: Sequence[int], num: int = 1000) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(classes), num).float()


# ---- numbers


def test_accuracy_counts_the_first_and_the_first_five(tmp_path: Path) -> None:
    logits = torch.zeros(4, 1000)
    logits[:, 10:16] = torch.tensor([6.0, 5, 4, 3, 2, 1])
    found = score(table(tmp_path, [photographs([10, 11, 14, 15], logits)], there=["val"]), seed=0)
    val = found["predictors"]["only"]["val"]
    assert (val["top1"]["value"], val["top5"]["value"]) == (0.25, 0.75)
    assert found["protocol"]["num_images"] == {"val": 4}


def test_of_equal_logits_the_lower_class_comes_first(tmp_path: Path) -> None:
    found = score(table(tmp_path, [photographs([0, 1, 4, 5], torch.zeros(4, 1000))], there=["val"]), seed=0)
    val = found["predictors"]["only"]["val"]
    assert (val["top1"]["value"], val["top5"]["value"]) == (0.25, 0.75)


def test_averages_are_of_logits_and_not_of_probabilities(tmp_path: Path) -> None:
    logits = {
        "shape": torch.tensor([[4.0, 0, 3]]),
        "texture": torch.tensor([[0.0, 4, 3]]),
        "background": torch.tensor([[0.0, 9, 0]]),
    }
    wide = {head: torch.nn.functional.pad(of_head, (0, 997), value=-9).half() for head, of_head in logits.items()}
    parts = [head_rows("val", ["a"], {"label": [2]}, wide)]
    found = score(table(tmp_path, parts, heads=HEADS, there=["val"]), seed=0)["predictors"]
    right = {name: metrics["val"]["top1"]["value"] for name, metrics in found.items()}
    assert right == {"average": 0, "shape_texture": 1, "shape": 0, "texture": 0, "background": 0}


def test_classes_outside_the_nine_are_wrong_of_a_thousand(tmp_path: Path) -> None:
    # Labelled dog: a dog, a teapot, a bird, another dog.
    known = {"label": [151] * 4, "in9_label": [0] * 4}
    rows = head_rows("in9_original", list("abcd"), known, {"only": one_hot([151, 849, 7, 268]).half()})
    found = score(table(tmp_path, [rows], there=["in9_original"]), seed=0)
    assert found["predictors"]["only"]["in9"]["original"]["value"] == 0.5


@pytest.mark.skipif(not DECISIONS.is_dir(), reason="needs the published decisions, not in this clone")
@pytest.mark.parametrize(("network", "published"), [("alexnet", "42.9"), ("googlenet", "31.2"), ("resnet50", "22.1")])
def test_a_table_of_published_decisions_has_the_published_shape_bias(
    tmp_path: Path, network: str, published: str
) -> None:
    (path,) = DECISIONS.glob(f"*_{network}_*.csv")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    known = {
        "shape_category": [row["category"] for row in rows],
        "texture_category": [re.search(r"-([a-z]+)\d+\.png$", row["imagename"])[1] for row in rows],  # type: ignore[index]
    }
    of_category = {name: ranges[0][0] for name, ranges in SIXTEEN.items()}
    logits = one_hot([of_category[row["object_response"]] for row in rows]) * 50
    part = head_rows("cue_conflict", [row["imagename"] for row in rows], known, {"only": logits.half()})
    metrics = score(table(tmp_path, [part], there=["cue_conflict"]), seed=0)["predictors"]["only"]["cue_conflict"]
    assert f"{100 * metrics['shape_bias']['value']:.1f}" == published
    assert metrics["num_images"] == 1200
    width = metrics["shape_bias"]["high"] - metrics["shape_bias"]["low"]
    share, num = metrics["shape_bias"]["value"], metrics["num_shape"] + metrics["num_texture"]
    assert width == pytest.approx(2 * 1.96 * (share * (1 - share) / num) ** 0.5, rel=0.1)


def test_the_likeliest_category_is_that_of_the_highest_mean() -> None:
    logits = torch.zeros(1, 1000)
    logits[0, 404], logits[0, 151:200] = 3, 2.5  # an airplane, many dogs
    assert decided_categories(logits) == ["airplane"]


def test_resampled_counts_are_those_of_images_drawn_anew() -> None:
    rng = stream(0, "plain")
    correct = torch.arange(200) < 60
    plain = correct[torch.randint(200, (NUM_RESAMPLES, 200), generator=rng)].sum(1).double()
    counts = resampled_counts(0.3, 200, rng)
    assert counts.shape == (NUM_RESAMPLES,)
    for of in (torch.mean, torch.std):
        assert of(counts).item() == pytest.approx(of(plain).item(), rel=0.06)
    limits = [interval(60.0, of_both)[1:] for of_both in (counts, plain)]
    assert limits[0] == pytest.approx(limits[1], abs=3)


def test_the_interval_of_a_shape_bias_is_that_of_images_drawn_anew() -> None:
    bias = ShapeBias(30, 60, 200, {})
    found = bias.interval(stream(0, "bias"))
    kinds = torch.tensor([0] * 30 + [1] * 60 + [2] * 110)
    drawn = kinds[torch.randint(200, (NUM_RESAMPLES, 200), generator=stream(0, "plain"))]
    plain = interval(1 / 3, ((drawn == 0).sum(1) / (drawn < 2).sum(1)).double())
    assert found == pytest.approx(plain, abs=0.02)


@pytest.mark.parametrize(("counts", "value"), [((1, 0, 3), 1.0), ((0, 1, 3), 0.0), ((3, 0, 3), 1.0)])
def test_a_bias_of_few_decisions_keeps_its_interval(counts: tuple[int, int, int], value: float) -> None:
    assert ShapeBias(*counts, {}).interval(stream(0)) == (value, value, value)


def test_a_gap_is_paired_where_both_variants_hold_the_same_foregrounds(tmp_path: Path) -> None:
    num = 40
    classes, kind = (
        torch.arange(num) % 9,
        torch.arange(num) % 4,
    )  # those that one variant tells, the other does more often
    predicted = {"mixed_same": (classes + (kind == 3)) % 9, "mixed_rand": (classes + (kind > 0)) % 9}
    names = [f"{number}" for number in range(num)]
    gaps = []
    for folder, of_rand in (("same", names), ("others", [f"other {name}" for name in names])):
        parts = []
        for variant, foregrounds in (("mixed_same", names), ("mixed_rand", of_rand)):
            order = torch.arange(num) if variant == "mixed_same" else torch.randperm(num, generator=stream(0))
            known = {"in9_label": classes[order].tolist(), "foreground": [foregrounds[place] for place in order]}
            logits = {"only": one_hot(predicted[variant][order].tolist(), 9).half()}
            parts.append(head_rows(f"in9_{variant}", names, known, logits))
        there = ["in9_mixed_same", "in9_mixed_rand"]
        found = score(table(tmp_path / folder, parts, classes="in9", there=there), seed=0)
        gaps.append(found["predictors"]["only"]["background_gap"])
    paired, apart = gaps
    assert paired["value"] == apart["value"] == 0.5
    assert paired["high"] - paired["low"] < 0.9 * (apart["high"] - apart["low"])


def challenge_rows(predicted: Sequence[int], predictors: Sequence[str] = ("only",)) -> dict[str, Any]:
    """Two objects of class 3 before two backgrounds each."""
    num = len(predictors)
    return {
        "set": ["in9"] * 4 * num,
        "foreground": ["a"] * 2 * num + ["b"] * 2 * num,
        "background": [name for name in "xyzw" for _ in predictors],
        "in9_label": [3] * 4 * num,
        "predictor": list(predictors) * 4,
        "predicted": [number for number in predicted for _ in predictors],
    }


def test_the_challenge_counts_objects_that_no_background_changes(tmp_path: Path) -> None:
    part = photographs([0], one_hot([0]))
    folder = table(tmp_path, [part], there=["val", "challenge"], challenge=challenge_rows([3, 3, 3, -1]))
    found = score(folder, seed=0)["predictors"]["only"]["challenge"]
    assert (found["value"], found["num_foregrounds"], found["num_backgrounds"]) == (0.5, 2, 2)


def test_equal_seeds_give_equal_intervals(tmp_path: Path) -> None:
    labels = torch.arange(100) % 7
    folder = table(tmp_path, [photographs(labels.tolist(), one_hot([3] * 100))], there=["val"])
    first, again, other = (json.dumps(score(folder, seed=seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_predictors_follow_from_heads() -> None:
    assert predictors_of(["only"]) == ("only",)
    assert predictors_of(HEADS) == ("average", "shape_texture", *HEADS)


# ---- tables that are refused

GOOD = photographs([0, 1], one_hot([0, 1]))
NINE = head_rows("in9_no_fg", ["a"], {"in9_label": [0]}, {"only": one_hot([0], 9).half()})


def bad(*parts: dict[str, Any], **given: Any) -> Callable[[Path], Path]:
    return lambda folder: table(folder, parts, **{"there": ["val"], **given})


def with_logits(value: float) -> dict[str, Any]:
    logits = one_hot([0, 1])
    logits[1, 5] = value
    return photographs([0, 1], logits)


def rewritten(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = table(folder, [GOOD], there=["val"]) / PREDICTIONS
        pq.write_table(change(pq.read_table(path)), path)
        return folder

    return write


def damaged(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = table(folder, [GOOD], there=["val"]) / PREDICTIONS
        path.write_bytes(change(path.read_bytes()))
        return folder

    return write


def without_challenge(folder: Path) -> Path:
    (table(folder, [GOOD], there=["val"]) / CHALLENGE).unlink()
    return folder


def of_two_runs(folder: Path) -> Path:
    other = table(folder / "other", [NINE], classes="in9", there=["in9_no_fg"])
    content = (other / CHALLENGE).read_bytes()
    (table(folder, [GOOD], there=["val"]) / CHALLENGE).write_bytes(content)
    return folder


ONE = {"label": [0], "in9_label": [0], "shape_category": ["cat"], "texture_category": ["dog"]}
ONE_LOGITS = {"only": one_hot([0]).half()}


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda folder: folder, r"predictions\.parquet is missing; delete its folder and run"),
        (without_challenge, r"challenge\.parquet is missing"),
        (of_two_runs, "found two tables of different runs"),
        (bad(), "found no rows, expected one per image and head"),
        (damaged(lambda content: content[:-20]), "cannot be read as Parquet"),
        (damaged(lambda content: content[:40] + bytes(40) + content[80:]), "is damaged"),
        (rewritten(lambda rows: rows.drop_columns(["label"])), "found no other column, expected label: int16"),
        (
            rewritten(lambda rows: rows.replace_schema_metadata(None)),
            "found no classes, heads, protocol, absent in its",
        ),
        (bad(GOOD, classes="cifar"), "found the classes 'cifar', allowed: imagenet, in9"),
        (bad(GOOD, heads=["shape"]), "heads: found shape, expected only, or shape, texture, background"),
        (
            bad(GOOD, NINE),
            "found 9 logits per row in in9_no_fg, expected 1000, for its classifier tells the classes of",
        ),
        (bad(NINE, GOOD, classes="in9"), "found 1000 logits per row in val, expected 9"),
        (bad(GOOD, classes="in9"), "found 1000 logits per row in val, expected 9"),
        (bad(with_logits(float("nan"))), "found logits of val that are no finite numbers"),
        (bad(with_logits(float("-inf"))), "found logits of val that are no finite numbers"),
        (bad({**GOOD, "logits": pa.array([[], []], pa.list_(pa.float16()))}), "found 0 logits per row in val"),
        (bad({**GOOD, "head": ["only", "shape"]}), "found val with other heads than only of some image"),
        (bad(GOOD, heads=HEADS), "found val with other heads than shape, texture, background of some image"),
        (bad(photographs([0, 1000], one_hot([0, 1]))), "found classes from 0 to 1000, expected 0 to 999"),
        (bad({**GOOD, "label": [0, None]}), "found val-1 of val without label"),
        (bad({**GOOD, "key": ["a", "a"]}), "found an image of val twice"),
        (bad(GOOD, GOOD), "found an image of val twice"),
        (bad({**GOOD, "set": ["test", "test"]}), "found the set 'test', allowed: train, val, stylized"),
        (bad(head_rows("cue_conflict", ["a"], ONE | {"texture_category": ["tiger"]}, ONE_LOGITS)), "'tiger', allowed"),
        (
            bad(head_rows("cue_conflict", ["a"], ONE | {"texture_category": [None]}, ONE_LOGITS)),
            "found a of cue_conflict without texture_category",
        ),
        (bad(head_rows("in9_no_fg", ["a"], ONE | {"in9_label": [9]}, ONE_LOGITS)), "found classes from 9 to 9"),
        (
            bad(head_rows("in9_no_fg", ["a"], ONE | {"in9_label": [None]}, ONE_LOGITS)),
            "found a of in9_no_fg without in9",
        ),
        (bad(GOOD, there=["val", "train"]), "found no images of train, and no reason why"),
        (bad(GOOD, there=["val", "challenge"]), "found no rows of in9, and no reason why"),
        (
            bad({**NINE, "set": ["val"], "label": [0]}, classes="in9"),
            "found val, expected no such set of a classifier of nine classes",
        ),
        (bad(GOOD, challenge=challenge_rows([3, 3, 3, 9])), "found classes from 3 to 9, expected -1 to 8"),
        (bad(GOOD, challenge=challenge_rows([3] * 4, ["shape"])), "found the predictor 'shape', allowed: only"),
        (
            bad(GOOD, challenge={**challenge_rows([3] * 4), "foreground": list("aaab")}),
            "found foregrounds of in9 with more backgrounds or predictors than others",
        ),
    ],
)
def test_a_table_that_cannot_be_scored_is_refused(tmp_path: Path, write: Callable[[Path], Path], message: str) -> None:
    with pytest.raises(InputError, match=message):
        score(write(tmp_path), seed=0)


def test_a_set_in_two_parts_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgn.evaluation.imagenet_predictions._BYTES_PER_GROUP", 1)
    parts = [GOOD, photographs([0], one_hot([0]), name="train"), {**GOOD, "key": ["c", "d"]}]
    with pytest.raises(InputError, match="found val in two parts"):
        list(read_predictions(table(tmp_path, parts) / PREDICTIONS))
