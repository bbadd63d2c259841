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


def read_quality(metrics: Path, params: Params, dataset: str, generator: str) -> list[Mapping[str, Any]]:
    """A generator's numbers, seed by seed.

    Raises: InputError where they are missing.
    """
    folder = metrics / dataset / "quality"
    return [
        read_numbers(folder / f"{generator}-{seed}.json", what="a generator's quality", stage="measure")
        for seed in params.seeds
    ]


def quality_table(metrics: Path, params: Params, dataset: str) -> Table:
    """Counterfactuals as numbers, a row per generator below those of what real images without bias reach.

    Raises: InputError where a generator's numbers are missing.
    """
    found = {name: read_quality(metrics, params, dataset, name) for name in params.generators}
    judge = next(iter(found.values()))[0]
    real = {
        "real: test images": [{"effectiveness": judge.get("judge_accuracy", {})}],
        "real: unbiased training images": [judge.get("unbiased", {})],
    }
    rows: list[tuple[str, ...]] = []
    for name, of_one in {**real, **found}.items():
        attempts = ", ".join(f"{number:g}" for number in _values(of_one, ("attempts",))) or tables.DASH
        rows.append((name, *(_over_seeds(of_one, *place) for place in _QUALITY.values()), attempts))
    return Table(("images", *_QUALITY, "attempts"), rows)


def read_attempts(metrics: Path, params: Params, dataset: str) -> dict[str, dict[int, int]]:
    """How many attempts each generator took, by seed, as far as `measure` wrote it down.

    Raises: InputError where a generator's numbers are missing.
    """
    return {
        name: {
            seed: int(content["attempts"])
            for seed, content in zip(params.seeds, read_quality(metrics, params, dataset, name), strict=True)
            if "attempts" in content
        }
        for name in params.generators
    }


def _values(found: Sequence[Mapping[str, Any]], path: Sequence[str]) -> list[float]:
    return [number for content in found if (number := _number(content, path)) is not None]


def _over_seeds(found: Sequence[Mapping[str, Any]], path: Sequence[str], is_share: bool) -> str:
    if not (values := _values(found, path)):
        return tables.DASH
    value = tables.spread_of(values)
    if is_share:
        return tables.percent_spread(value)
    return f"{value.mean:.1f}" + (f" ± {value.std:.1f}" if value.std is not None else "")


# ---- where classifiers look: one row per classifier, of the first seed

_EXPLAINERS = {"integrated gradients": "integrated_gradients", "Grad-CAM": "grad_cam", "LIME": "lime"}
_FACTORS = ("shape", "texture", "background")


def _share(numbers: Mapping[str, Any], explainer: str) -> tables.Estimate | None:
    share, error = (_number(numbers, (kind, explainer)) for kind in ("digit_share", "digit_share_error"))
    return None if share is None or error is None else tables.Estimate(share, error)


def explained_table(metrics: Path, dataset: str, found: Sequence[tables.Experiment]) -> Table:
    """Share of attribution on the digit with its standard error over images, and of the features' variance between the
    classes of each factor.

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
        looks = (tables.percent_estimate(_share(numbers, name)) for name in _EXPLAINERS.values())
        tells = (tables.percent(_number(numbers, ("variance_by", name))) for name in _FACTORS)
        rows.append((experiment.label, *looks, *tells))
    header = (
        "method",
        *(f"on the digit: {name}" for name in _EXPLAINERS),
        *(f"features by {name}" for name in _FACTORS),
    )
    return Table(header, rows)


def looks_at_digit(metrics: Path, dataset: str) -> dict[str, tables.Estimate]:
    """The share of Grad-CAM that falls on the digit, per classifier.

    Raises: InputError where the numbers are missing.
    """
    content = read_numbers(metrics / dataset / "explained.json", what="where classifiers look", stage="explain")
    classifiers = content.get("classifiers", {}).items()
    return {name: share for name, one in classifiers if (share := _share(one, "grad_cam")) is not None}


# ---- the sweep: one row per cell

_SWEEP_HEADER = (
    "generator",
    "counterfactuals",
    "of them seen",
    "of one shape",
    "different shapes",
    "real share",
    "test",
    tables.PAPERS_SPLIT,
    "reproduction",
)


class SweepCell(NamedTuple):
    """One point of the paper's Figure 7."""

    generator: str
    num_images: int
    cf_ratio: int
    real_percent: int
    num_seen: int  # different counterfactuals that the classifier sees: its budget may be shorter
    num_shapes: int | None  # different ones; the same for every seed
    accuracy: Mapping[str, tables.Spread]  # by test set


def sweep_cells(metrics: Path, params: Params, dataset: str) -> list[SweepCell]:
    """The paper's Figure 7: accuracy by how many counterfactuals there are; none where no generator is swept.

    Raises: InputError where a cell is missing.
    """
    found: list[SweepCell] = []
    sweep = params.sweep
    for generator, images, ratio, real in product(
        sweep.generators, sweep.num_images, sweep.cf_ratio, sweep.real_percent
    ):
        name = f"{generator}-{images}-{ratio}-{real}"
        cells = [
            read_numbers(metrics / dataset / "sweep" / f"{name}-{seed}.json", what="a sweep's cell", stage="sweep")
            for seed in params.seeds
        ]
        values = {split: _values(cells, ("accuracy", split)) for split in ("test", "paper_test")}
        accuracy = {split: tables.spread_of(numbers) for split, numbers in values.items() if numbers}
        budget = _values(cells, ("images_seen",)) or [images]
        seen = min(images, round(budget[0] * (100 - real) / 100))
        shapes = _values(cells, ("shapes",))
        num_shapes = round(shapes[0]) if shapes else None
        found.append(SweepCell(generator, images, ratio, real, seen, num_shapes, accuracy))
    return found


def sweep_table(cells: Sequence[SweepCell], dataset: str) -> Table:
    """A row of text per cell, in percent."""
    rows: list[tuple[str, ...]] = []
    for cell in cells:
        held = paper.FIGURE_7.get(dataset, {}).get((cell.num_images, cell.cf_ratio)) if not cell.real_percent else None
        rows.append(
            (
                cell.generator,
                f"{cell.num_images:,}",
                f"{cell.num_seen:,}",
                str(cell.cf_ratio),
                tables.DASH if cell.num_shapes is None else f"{cell.num_shapes:,}",
                str(cell.real_percent),
                tables.percent_spread(cell.accuracy.get("test")),
                tables.percent_spread(cell.accuracy.get("paper_test")),
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
        seeds = ", ".join(map(str, params.seeds))
        numbers = (_over_seeds(cells, *place) for place in _ABLATED.values())
        collapsed = _values(cells, ("collapsed",))
        refused = f"{sum(collapsed):g} of {len(collapsed)}" if collapsed else tables.DASH
        rows.append((generator, change.replace("_", " "), seeds, *numbers, refused))
    return Table(("generator", "change", "seeds", *_ABLATED, "collapsed"), rows)
