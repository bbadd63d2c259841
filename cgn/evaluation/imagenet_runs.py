"""What the stages of the ImageNet road left behind: every run's numbers, and its masks over training."""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from cgn.config import ImagenetCgnConfig, Params, changed
from cgn.errors import InputError

Place = tuple[str, ...]  # the names that lead to a value in a metrics file

NO_REASON = "its metrics do not say why"
_REASON = "null_because"  # beside numbers that are null
_OF_PROTOCOL = ("protocol", "num_images")


class Run(NamedTuple):
    """One training, measured."""

    scale: str
    recipe: str
    change: str
    seed: int
    numbers: Mapping[Place, float]
    missing: Mapping[Place, str]  # why they were not measured
    protocol: Mapping[Place, str]  # what the numbers depend on

    @property
    def target(self) -> str:
        """The stage that writes its metrics."""
        return f"measure_imagenet@{self.scale}-{self.recipe}-{self.change}-{self.seed}"

    @property
    def name(self) -> str:
        """What its folders and files are called after."""
        return f"{self.recipe}-{self.change}"


class Timeline(NamedTuple):
    """Masks over training: per step of the optimisers their mean and the share of their pixels that are decided."""

    steps: Sequence[float]
    mask_mean: Sequence[float]
    binary_share: Sequence[float]


def losses_off(recipe: ImagenetCgnConfig) -> tuple[str, ...]:
    """Which of the paper's four losses a recipe does without.

    Source: Sauer & Geiger 2021, section 3.2, for what belongs to which.
    """
    weights = {
        "shape": (recipe.lambda_binary, recipe.lambda_size),
        "texture": recipe.texture_weights,
        "background": (recipe.lambda_background,),
        "reconstruction": (recipe.lambda_l1, *recipe.content_weights, *recipe.style_weights),
    }
    return tuple(name for name, of_loss in weights.items() if not any(of_loss))


def changed_recipe(params: Params, recipe: str, change: str) -> ImagenetCgnConfig:
    """A recipe as an ablation trains it."""
    return changed(params.imagenet_cgn[recipe], params.imagenet_ablation[change])


def read_runs(metrics: Path, params: Params, scale: str) -> list[Run]:
    """Every run that the lists in params name, in their order; files beyond them are ignored.

    Raises: InputError where one is missing or is no metrics file.
    """
    axes = product(params.imagenet_recipes, params.imagenet_changes, params.seeds)
    return [_read_run(metrics, scale, *names) for names in axes]


def _read_run(metrics: Path, scale: str, recipe: str, change: str, seed: int) -> Run:
    run = Run(scale, recipe, change, seed, {}, {}, {})
    path = metrics / f"{run.name}-{seed}.json"
    if not path.is_file():
        raise InputError(f"report_imagenet: found no {path}, expected metrics; run `dvc repro {run.target}`")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, Mapping):
            raise ValueError(f"found {type(content).__name__}, expected names and numbers")
        values = list(_values(content, (), NO_REASON))
        for place, value, _ in values:
            if type(value) in (int, float) and not math.isfinite(value):
                raise ValueError(f"{'.'.join(place)}: found {value}, expected a finite number")
    except ValueError as error:
        raise InputError(
            f"report_imagenet: {path} is no metrics file ({error}); delete it and run `dvc repro {run.target}`"
        ) from error
    return run._replace(
        numbers={place: float(value) for place, value, _ in values if _is_measured(place, value)},
        missing={place: reason for place, value, reason in values if value is None and not _is_protocol(place)},
        protocol={
            place: _text(value) for place, value, _ in values if _is_protocol(place) or type(value) in (str, bool)
        },
    )


def _values(content: Any, place: Place, reason: str) -> Iterator[tuple[Place, Any, str]]:
    """Every value of a metrics file, where it is, and what the file says of one that is null.

    Entries of a list are called after their number of images, where they have one.
    """
    if isinstance(content, Mapping):
        reason = str(content.get(_REASON) or reason)
        for name, value in content.items():
            if name != _REASON:
                yield from _values(value, (*place, str(name)), reason)
    elif isinstance(content, list):
        for index, value in enumerate(content):
            named = (
                f"{value['num_images']} images" if isinstance(value, Mapping) and "num_images" in value else str(index)
            )
            entry = (
                {key: one for key, one in value.items() if key != "num_images"} if isinstance(value, Mapping) else value
            )
            yield from _values(entry, (*place, named), reason)
    else:
        yield place, content, reason


def _is_protocol(place: Place) -> bool:
    return any(name in _OF_PROTOCOL for name in place)


def _is_measured(place: Place, value: Any) -> bool:
    return type(value) in (int, float) and not _is_protocol(place)


def _text(value: Any) -> str:
    return f"{value:,}" if type(value) is int else str(value)


def read_timeline(record: Path) -> Timeline:
    """A training's masks from its scalars.csv.

    Raises: InputError where that is missing or holds something else.
    """
    path = record / "scalars.csv"
    remedy = "delete the record and run `dvc repro train_imagenet`"
    if not path.is_file():
        raise InputError(f"report_imagenet: found no {path}, expected a training's numbers; {remedy}")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, strict=True))
        columns = [[float(row[name]) for row in rows] for name in ("step", "mask_mean", "mask_binary_share")]
        if not rows:
            raise ValueError("found no row")
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise InputError(f"report_imagenet: {path} is no table of steps and masks ({error!r}); {remedy}") from error
    return Timeline(*columns)
