"""Metrics of a classifier: pure functions from a table of predictions (`contracts.PREDICTIONS_SCHEMA`) to numbers."""

from collections.abc import Callable, Mapping
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cgn.errors import InputError
from cgn.mnist import NUM_CLASSES

NUM_BINS = 15
_OF_ANY_SIZE = ("val", "val_unbiased")  # test sets as large as `num_validation` says, where a class may be missing
ALWAYS = ("train", "test")  # test sets that every table of predictions holds


class GroupAccuracy(TypedDict):
    """Accuracy on some of the images, and how many they are."""

    accuracy: float
    num_images: int


Value = float | int | list[float] | GroupAccuracy


def _not_empty(predictions: pa.Table, metric: str) -> None:
    if predictions.num_rows == 0:
        raise InputError(
            f"{metric}: found an empty table of predictions, expected one row per image; run `dvc repro predict`"
        )


def _share_equal(predictions: pa.Table, column: str) -> float:
    return float(pc.mean(pc.equal(predictions["predicted"], predictions[column])).as_py())


def accuracy(predictions: pa.Table) -> float:
    """Share of images whose predicted class is the shape class, in [0, 1].

    Raises: InputError on an empty table.
    """
    _not_empty(predictions, "accuracy")
    return _share_equal(predictions, "shape")


def accuracy_per_class(predictions: pa.Table) -> list[float]:
    """The accuracy on the images of each shape class.

    Raises: InputError on an empty table, and where a class has no image.
    """
    return _per_class(predictions, "accuracy_per_class")


def worst_class_accuracy(predictions: pa.Table) -> float:
    """The lowest accuracy of a shape class.

    Raises: InputError on an empty table, and where a class has no image.
    """
    return min(_per_class(predictions, "worst_class_accuracy"))


def _per_class(predictions: pa.Table, metric: str) -> list[float]:
    _not_empty(predictions, metric)
    of_class = [predictions.filter(pc.equal(predictions["shape"], number)) for number in range(NUM_CLASSES)]
    if missing := [str(number) for number, rows in enumerate(of_class) if not rows.num_rows]:
        raise InputError(
            f"{metric}: found {predictions.num_rows} images, none of class {', '.join(missing)} in column shape, expected "
            "some of every class; run `dvc repro predict`"
        )
    return [_share_equal(rows, "shape") for rows in of_class]


def texture_agreement(predictions: pa.Table) -> float:
    """Share of images whose predicted class is the texture class: 0.1 by chance, 1 where texture is the shortcut.

    Raises: InputError on an empty table.
    """
    _not_empty(predictions, "texture_agreement")
    return _share_equal(predictions, "texture")


def background_agreement(predictions: pa.Table) -> float:
    """Share of images whose predicted class is the background class.

    Raises: InputError on an empty table and where a background is null.
    """
    _not_empty(predictions, "background_agreement")
    if missing := predictions["background"].null_count:
        raise InputError(
            f"background_agreement: found {missing} of {predictions.num_rows} images without a background class, "
            "expected none; ask for it only on data sets that have this factor"
        )
    return _share_equal(predictions, "background")


def calibration_error(predictions: pa.Table) -> float:
    """Expected calibration error over 15 equal bins of confidence: mean gap of accuracy and confidence, by bin size.

    A bin holds confidences above its lower and up to its upper end.
    Raises: InputError on an empty table and on a confidence outside [0, 1].
    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, section 2, equation 3.
    """
    _not_empty(predictions, "ece")
    confidence = predictions["confidence"].to_numpy().astype(np.float64)
    if not bool(((confidence >= 0) & (confidence <= 1)).all()):  # NaN fails both
        raise InputError("ece: found a confidence outside [0, 1], expected probabilities; run `dvc repro predict`")
    correct = pc.equal(predictions["predicted"], predictions["shape"]).to_numpy().astype(np.float64)
    bins = np.clip(np.ceil(confidence * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=NUM_BINS)
    return float(np.abs(gaps).sum() / predictions.num_rows)


def _group(predictions: pa.Table, *, low_contrast: bool) -> GroupAccuracy:
    rows = predictions.filter(pc.equal(predictions["low_contrast"], low_contrast))
    _not_empty(rows, "low_contrast" if low_contrast else "distinct")
    return {"accuracy": accuracy(rows), "num_images": rows.num_rows}


def low_contrast(predictions: pa.Table) -> GroupAccuracy:
    """The accuracy on images whose object and background are drawn from one palette entry.

    Raises: InputError where there is no such image.
    """
    return _group(predictions, low_contrast=True)


def distinct(predictions: pa.Table) -> GroupAccuracy:
    """The accuracy on images whose object differs from its background.

    Raises: InputError where there is no such image.
    """
    return _group(predictions, low_contrast=False)


def num_images(predictions: pa.Table) -> int:
    """How many images were predicted.

    Raises: InputError on an empty table.
    """
    _not_empty(predictions, "num_images")
    return int(predictions.num_rows)


METRICS: dict[str, Callable[[pa.Table], Value]] = {
    "accuracy": accuracy,
    "worst_class_accuracy": worst_class_accuracy,
    "accuracy_per_class": accuracy_per_class,
    "texture_agreement": texture_agreement,
    "background_agreement": background_agreement,
    "low_contrast": low_contrast,
    "distinct": distinct,
    "ece": calibration_error,
    "num_images": num_images,
}


def applicable(predictions: pa.Table) -> list[str]:
    """The metrics that this test set defines: no background agreement where the data set has no such factor, accuracy by contrast
    only where an image of low contrast exists, and none per class where a validation split lacks one.
    """
    absent: set[str] = set()
    if predictions["test_set"][0].as_py() in _OF_ANY_SIZE and len(predictions["shape"].unique()) < NUM_CLASSES:
        absent |= {"accuracy_per_class", "worst_class_accuracy"}
    if predictions["background"].null_count == predictions.num_rows:
        absent.add("background_agreement")
    num_low = pc.sum(predictions["low_contrast"]).as_py() or 0
    if num_low == 0:
        absent |= {"low_contrast", "distinct"}
    elif num_low == predictions.num_rows:
        absent.add("distinct")
    return [name for name in METRICS if name not in absent]


def score(predictions: pa.Table) -> Mapping[str, Mapping[str, Value]]:
    """Every applicable metric of every test set, by test set in order of appearance.

    Raises: InputError where the table is empty or lacks the test set train or test, and what metrics raise, with the test set.
    """
    _not_empty(predictions, "score")
    found = predictions["test_set"].unique().to_pylist()
    if missing := [name for name in ALWAYS if name not in found]:
        raise InputError(
            f"score: found predictions for {', '.join(found)}, expected {' and '.join(ALWAYS)} among them, "
            f"but {', '.join(missing)} is missing; run `dvc repro predict`"
        )
    scores: dict[str, dict[str, Value]] = {}
    for test_set in found:
        rows = predictions.filter(pc.equal(predictions["test_set"], test_set))
        try:
            scores[test_set] = {name: METRICS[name](rows) for name in applicable(rows)}
        except InputError as error:
            raise InputError(f"{test_set}.{error}") from error
    return scores
