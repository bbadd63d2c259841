"""Tables of what was measured beside accuracy: counterfactuals' quality, where classifiers look, sweep and ablations."""

import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from cgn.config import Params
from cgn.errors import InputError
from cgn.evaluation import paper, tables


class Table(NamedTuple):
    """A table of text: column names and rows."""

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def read_numbers(path: Path, *, what: str, stage: str) -> Mapping[str, Any]:
    """A JSON file of numbers.

    Raises: InputError where it is missing or is none.
    """
    if not path.is_file():
        raise InputError(f"report: found no {path}, expected {what}; run `dvc repro {stage}`")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, Mapping):
            raise ValueError(f"found {content!r}, expected names and numbers")
        _check_numbers(content)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"report: {path} does not hold {what} ({error}); delete it and run `dvc repro {stage}`"
        ) from error
    return dict(content)


def _check_numbers(content: Any) -> None:
    if isinstance(content, Mapping):
        for value in content.values():
            _check_numbers(value)
    elif isinstance(content, list):
        for value in content:
            _check_numbers(value)
    elif type(content) not in (int, float) or not 0 <= content < float("inf"):
        raise ValueError(f"found {content!r}, expected numbers from 0 on")


# ---- quality of counterfactuals: one row per generator

_QUALITY: dict[str, tuple[tuple[str, ...], bool]] = {  # column -> where the number is, whether it is a share
    "shape seen": (("effectiveness", "shape"), True),
    "texture seen": (("effectiveness", "texture"), True),
    "background seen": (("effectiveness", "background"), True),
    "texture = shape": (("agreement",), True),
    "composition": (("composition",), True),
    "shape moves alone": (("minimality", "shape"), True),
    "texture alone": (("minimality", "texture"), True),
    "background alone": (("minimality", "background"), True),
    "FID": (("fid",), False),
    "shape FID": (("shape_fid",), False),
    "diversity": (("shape_diversity",), True),
    "mask IoU": (("mask_iou",), True),
    "worst class": (("worst_mask_iou",), True),
    "inferred masks' IoU": (("inferred_iou",), True),
    "their worst class": (("worst_inferred_iou",), True),
}


def _number(content: Mapping[str, Any], path: Sequence[str]) -> float | None:
    found: Any = content
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return None if found is None else float(found)


def quality_table(metrics: Path, params: Params, dataset: str) -> Table:
    """Counterfactuals as numbers, a row per generator below one of how well the judges read test images.

    Raises: InputError where a generator's numbers are missing.
    """
    rows: list[tuple[str, ...]] = []
    judges: list[Mapping[str, Any]] = []
    for generator in params.generators:
        folder = metrics / dataset / "quality"
        found = [
            read_numbers(folder / f"{generator}-{seed}.json", what="a generator's quality", stage="measure")
            for seed in params.seeds
        ]
        judges.append(found[0].get("judge_accuracy", {}))
        rows.append((generator, *(_over_seeds(found, *place) for place in _QUALITY.values())))
    seen = [tables.percent(judges[0].get(path[-1])) for path, _ in list(_QUALITY.values())[:3]]
    rows.insert(0, ("judges on test images", *seen, *[tables.DASH] * (len(_QUALITY) - 3)))
    return Table(("generator", *_QUALITY), rows)


def _over_seeds(found: Sequence[Mapping[str, Any]], path: Sequence[str], is_share: bool) -> str:
    values = [number for content in found if (number := _number(content, path)) is not None]
    if not values:
        return tables.DASH
    value = tables.spread_of(values)
    if is_share:
        return tables.percent_spread(value)
    return f"{value.mean:.1f}" + (f" ± {value.std:.1f}" if value.std is not None else "")


# ---- where classifiers look: one row per classifier, of the first seed

_EXPLAINERS = {"integrated gradients": "integrated_gradients", "Grad-CAM": "grad_cam", "LIME": "lime"}
_FACTORS = ("shape", "texture", "background")


def explained_table(metrics: Path, dataset: str, found: Sequence[tables.Experiment]) -> Table:
    """Share of attribution on the digit, and of the features' variance between the classes of each factor.

    Raises: InputError where a classifier's numbers are missing.
    """
    path = metrics / dataset / "explained.json"
    content = read_numbers(path, what="where classifiers look", stage="explain")
    area = _number(content, ("digit_area",))
    rows: list[tuple[str, ...]] = [
        ("an even spread", *[tables.percent(area)] * len(_EXPLAINERS), *[tables.DASH] * len(_FACTORS))
    ]
    for experiment in found:
        if experiment.name not in content.get("classifiers", {}):
            raise InputError(f"report: found no {experiment.name} in {path}; run `dvc repro explain`")
        numbers = content["classifiers"][experiment.name]
        looks = (tables.percent(_number(numbers, ("digit_share", name))) for name in _EXPLAINERS.values())
        tells = (tables.percent(_number(numbers, ("variance_by", name))) for name in _FACTORS)
        rows.append((experiment.label, *looks, *tells))
    header = (
        "method",
        *(f"on the digit: {name}" for name in _EXPLAINERS),
        *(f"features by {name}" for name in _FACTORS),
    )
    return Table(header, rows)


def looks_at_digit(metrics: Path, dataset: str) -> dict[str, float]:
    """The share of Grad-CAM that falls on the digit, per classifier.

    Raises: InputError where the numbers are missing.
    """
    content = read_numbers(metrics / dataset / "explained.json", what="where classifiers look", stage="explain")
    classifiers = content.get("classifiers", {}).items()
    return {
        name: share for name, one in classifiers if (share := _number(one, ("digit_share", "grad_cam"))) is not None
    }


# ---- the sweep: one row per cell

_SWEEP_HEADER = (
    "generator",
    "counterfactuals",
    "of one shape",
    "real share",
    "test",
    tables.PAPERS_SPLIT,
    "reproduction",
)


def sweep_table(metrics: Path, params: Params, dataset: str) -> Table:
    """The paper's Figure 7: accuracy by how many counterfactuals there are; no row where no generator is swept.

    Raises: InputError where a cell is missing.
    """
    rows: list[tuple[str, ...]] = []
    sweep = params.sweep
    for generator, images, ratio, real in product(
        sweep.generators, sweep.num_images, sweep.cf_ratio, sweep.real_percent
    ):
        name = f"{generator}-{images}-{ratio}-{real}"
        cells = [
            read_numbers(metrics / dataset / "sweep" / f"{name}-{seed}.json", what="a sweep's cell", stage="sweep")
            for seed in params.seeds
        ]
        held = paper.FIGURE_7.get(dataset, {}).get((images, ratio)) if real == 0 else None
        rows.append(
            (
                generator,
                f"{images:,}",
                str(ratio),
                str(real),
                _over_seeds(cells, ("accuracy", "test"), True),
                _over_seeds(cells, ("accuracy", "paper_test"), True),
                paper.NOT_HELD if held is None else tables.percent(held),
            )
        )
    return Table(_SWEEP_HEADER, rows)


# ---- ablations: one row per change of a generator

_ABLATED: dict[str, tuple[tuple[str, ...], bool]] = {  # column -> where the number is, whether it is a share
    "test": (("accuracy", "test"), True),
    tables.PAPERS_SPLIT: (("accuracy", "paper_test"), True),
    "mask mean": (("statistics", "mask_mean"), True),
    "decided": (("statistics", "binary_share"), True),
    "border": (("statistics", "border_mean"), True),
    "within a class": (("statistics", "class_diversity"), True),
    "between classes": (("statistics", "class_distance"), True),
    "roughness": (("statistics", "class_roughness"), True),
    "mask IoU": (("mask_iou",), True),
    "worst class": (("worst_mask_iou",), True),
    "collapsed": (("collapsed",), True),
}


def ablation_table(metrics: Path, params: Params, dataset: str) -> Table:
    """What each change of a generator does to its masks and to a classifier of its counterfactuals alone.

    Raises: InputError where a cell is missing.
    """
    rows: list[tuple[str, ...]] = []
    for generator, change in product(params.ablate.generators, params.ablate.changes):
        cells = [
            read_numbers(
                metrics / dataset / "ablation" / f"{generator}-{change}-{seed}.json",
                what="an ablation's cell",
                stage="ablate",
            )
            for seed in params.seeds
        ]
        rows.append((generator, change.replace("_", " "), *(_over_seeds(cells, *place) for place in _ABLATED.values())))
    return Table(("generator", "change", *_ABLATED), rows)
