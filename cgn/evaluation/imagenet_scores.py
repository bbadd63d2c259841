"""Metrics of a classifier of natural images: a pure function of its two prediction tables.

No predictor is mixed with another: every number is given for every predictor, in a section of its own.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from cgn.data.imagenet9 import VARIANTS
from cgn.errors import InputError
from cgn.evaluation.backgrounds import (
    accuracy_interval,
    background_gap,
    challenge_accuracy,
    paired_background_gap,
)
from cgn.evaluation.imagenet_decisions import Decided, Decisions, all_sets, decided
from cgn.evaluation.imagenet_predictions import (
    CHALLENGE,
    CHALLENGE_SCHEMA,
    CHALLENGE_SETS,
    CUE_CONFLICT,
    IN9_SETS,
    PREDICTIONS,
    PREDICTIONS_SCHEMA,
    REMEDY,
    WHOLE_SETS,
    definition,
    predictors_of,
    read_challenge,
    read_metadata,
)
from cgn.evaluation.intervals import PROTOCOL
from cgn.evaluation.shape_bias import shape_bias
from cgn.rng import stream

_GAPS = {"in9": "background_gap", "released_in9": "released_background_gap"}
_CHALLENGES = dict(zip(CHALLENGE_SETS, ("challenge", "released_challenge"), strict=True))
_IN9_PROTOCOL = {
    "imagenet": "images whose label's class of ImageNet-9 the likeliest of all thousand classes belongs to; one outside the nine is wrong",
    "in9": "images whose label is the likeliest of the nine classes",
}
_PROTOCOL = {
    "top1": "the likeliest of all thousand classes, also on sets that have images of some of them only, such as ImageNet-A",
    "cue_conflict": "the category whose classes have the highest mean softmax probability; shape bias is the share of shape among "
    "decisions for shape or texture; images whose shape and texture are of one category are left out",
    "background_gap": "mixed_same minus mixed_rand; foregrounds are resampled with both their images where both variants hold the same, "
    "and else the two variants independently",
    "challenge": "foregrounds that are told rightly before every one of their backgrounds",
    "intervals": PROTOCOL,
}


def score(folder: Path, *, seed: int) -> dict[str, Any]:
    """Every metric of every predictor, and the protocol that they depend on; a metric that is undefined is None, with its reason.

    `seed` draws the resamples of intervals. Raises: InputError where a table is missing, damaged or contradicts the other, and what
    `read_predictions` and `read_challenge` raise.
    """
    path = folder / PREDICTIONS
    metadata = read_metadata(path, PREDICTIONS_SCHEMA)
    if read_metadata(folder / CHALLENGE, CHALLENGE_SCHEMA) != metadata:
        raise InputError(
            f"{folder}: found two tables of different runs, expected {PREDICTIONS} and {CHALLENGE} of one; {REMEDY}"
        )
    predictors = predictors_of(metadata.heads)
    found = decided(path, metadata.classes, predictors)
    challenge = _stands(folder / CHALLENGE)
    absent = dict(metadata.absent)
    whole = tuple(f"{prefix}_" for name, prefix in IN9_SETS.items() if name in absent)
    for name in [name for name in all_sets() if name not in absent and not name.startswith(whole)]:
        if name not in found.num_images:
            raise InputError(f"{path}: found no images of {name}, and no reason why, expected either; {REMEDY}")
    scores: dict[str, dict[str, Any]] = {}
    for predictor in predictors:
        scorer = _Scorer(predictor, found, absent, seed)
        scores[predictor] = {**scorer.score(), **_challenge(challenge, predictor, absent, seed)}
    return {
        "protocol": {
            **metadata.protocol,
            "predictors": {name: definition(name) for name in predictors},
            "num_images": dict(found.num_images),
            **_PROTOCOL,
            "in9": _IN9_PROTOCOL[metadata.classes],
        },
        "classes": metadata.classes,
        "heads": metadata.heads,
        "predictors": scores,
        "absent": dict(sorted(absent.items())),
    }


# ---- numbers


class _Scorer:
    """The metrics of one predictor."""

    def __init__(self, predictor: str, found: Decided, absent: dict[str, str], seed: int) -> None:
        """Reasons why a number is undefined are added to `absent`."""
        self.predictor, self.found, self.absent, self.seed = predictor, found, absent, seed
        self.decisions = found.by_predictor[predictor]

    def score(self) -> dict[str, Any]:
        """All but the challenge's."""
        metrics: dict[str, Any] = {}
        for name in WHOLE_SETS:
            metrics[name] = None
            if found := self.decisions.get(name):
                metrics[name] = {
                    "top1": self._interval(found.top1, name, "top1"),
                    "top5": self._interval(found.top5, name, "top5"),
                }
        metrics[CUE_CONFLICT] = self._cue_conflict()
        for name, prefix in IN9_SETS.items():
            found_sets = {variant: self.decisions.get(f"{prefix}_{variant}") for variant in VARIANTS}
            metrics[name] = None
            if name not in self.absent:
                metrics[name] = {
                    variant: None if of_set is None else self._interval(of_set.top1, name, variant)
                    for variant, of_set in found_sets.items()
                }
            metrics[_GAPS[name]] = self._gap(name, found_sets)
        return metrics

    def _interval(self, correct: Tensor, *names: str) -> dict[str, float]:
        return accuracy_interval(correct, self._rng(*names))._asdict()

    def _rng(self, *names: str) -> torch.Generator:
        return stream(self.seed, "score_imagenet", self.predictor, *names)

    def _cue_conflict(self) -> dict[str, Any] | None:
        if (found := self.decisions.get(CUE_CONFLICT)) is None:
            return None
        bias = shape_bias(found.categories, self.found.shapes, self.found.textures)
        value = None
        try:
            value = bias.interval(self._rng(CUE_CONFLICT))._asdict()
        except InputError as error:  # an empty cell, not the end of the other numbers
            self.absent[f"{self.predictor}.{CUE_CONFLICT}.shape_bias"] = str(error)
        return {
            "shape_bias": value,
            "num_shape": bias.num_shape,
            "num_texture": bias.num_texture,
            "num_images": bias.num_images,
            "per_category": {name: list(counts) for name, counts in bias.per_category.items()},
        }

    def _gap(self, name: str, found: Mapping[str, Decisions | None]) -> dict[str, float] | None:
        same, rand = found["mixed_same"], found["mixed_rand"]
        if same is None or rand is None:
            lacking = [variant for variant in ("mixed_same", "mixed_rand") if found[variant] is None]
            if name in self.absent:
                self.absent[_GAPS[name]] = self.absent[name]
            else:
                self.absent[_GAPS[name]] = f"{' and '.join(lacking)} absent"
            return None
        rng = self._rng(_GAPS[name])
        if (order := self._paired(IN9_SETS[name])) is None:
            return background_gap(same.top1, rand.top1, rng)._asdict()
        return paired_background_gap(same.top1, rand.top1[order], rng)._asdict()

    def _paired(self, prefix: str) -> list[int] | None:
        """Where in mixed_rand the foregrounds of mixed_same are, in order; None where they are not the same."""
        same, rand = (self.found.foregrounds[f"{prefix}_{variant}"] for variant in ("mixed_same", "mixed_rand"))
        places = {name: place for place, name in enumerate(rand) if name is not None}
        if len(places) < len(rand) or len(set(same)) < len(same) or set(same) != set(places):
            return None
        return [places[name] for name in same if name is not None]


def _stands(path: Path) -> dict[str, dict[str, tuple[Tensor, int]]]:
    """By set and predictor whether every foreground stays correctly classified before all of its backgrounds, and how many those are.

    Raises: InputError where foregrounds have different numbers of backgrounds, or predictors different foregrounds.
    """
    keys = ["set", "predictor", "foreground"]
    parts = [
        rows.append_column("correct", pc.equal(rows["in9_label"], rows["predicted"]))
        .group_by(keys, use_threads=False)
        .aggregate([("correct", "all"), ("correct", "count")])
        for rows in read_challenge(path)
    ]
    if not parts:
        return {}
    grouped = pa.concat_tables(parts).group_by(keys, use_threads=False)
    counted = grouped.aggregate([("correct_all", "all"), ("correct_count", "sum")])
    found: dict[str, dict[str, tuple[Tensor, int]]] = {}
    predictors = predictors_of(read_metadata(path, CHALLENGE_SCHEMA).heads)
    for name in counted["set"].unique().to_pylist():
        of_set = counted.filter(pc.equal(counted["set"], name))
        counts, by_predictor = of_set["correct_count_sum"].unique().to_pylist(), {}
        for predictor in predictors:
            rows = of_set.filter(pc.equal(of_set["predictor"], predictor))
            by_predictor[predictor] = (torch.tensor(rows["correct_all_all"].to_pylist(), dtype=torch.bool), counts[0])
        if len(counts) > 1 or len({len(stands) for stands, _ in by_predictor.values()}) > 1:
            raise InputError(
                f"{path}: found foregrounds of {name} with more backgrounds or predictors than others; {REMEDY}"
            )
        found[name] = by_predictor
    return found


def _challenge(
    stands: Mapping[str, Mapping[str, tuple[Tensor, int]]], predictor: str, absent: Mapping[str, str], seed: int
) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    for name, metric in _CHALLENGES.items():
        metrics[metric] = None
        if name in stands:
            found, num_backgrounds = stands[name][predictor]
            value = challenge_accuracy(found[:, None], stream(seed, "score_imagenet", predictor, metric))
            metrics[metric] = {**value._asdict(), "num_foregrounds": len(found), "num_backgrounds": num_backgrounds}
        elif metric not in absent:
            raise InputError(f"challenge: found no rows of {name}, and no reason why, expected either; {REMEDY}")
    return metrics


def one_line_of(scores: Mapping[str, Any]) -> str:
    """What the log says of metrics: the first predictor's."""
    name, metrics = next(iter(scores["predictors"].items()))
    said = {
        "top-1": ((metrics["val"] or {}).get("top1")),
        "shape bias": (metrics[CUE_CONFLICT] or {}).get("shape_bias"),
        "BG-Gap": metrics["background_gap"],
    }
    return ", ".join([f"predictor {name}", *(f"{what} {value['value']:.4f}" for what, value in said.items() if value)])
