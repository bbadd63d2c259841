"""Metrics and explanations of classifiers of natural images as their stages write them, made up by hand."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isolation import ROOT
from PIL import Image
from ruamel.yaml import YAML

from cgn.config import Params, load_params
from cgn.evaluation.shape_bias import CATEGORIES

ENSEMBLE = ("average", "shape_texture", "shape", "texture", "background")
HEADS = ("shape", "texture", "background")
ENSEMBLE_NAME = "authors_code-unchanged-cgn_ensemble"


def params_with(folder: Path, **changes: object) -> Params:
    content = YAML(typ="safe", pure=True).load(ROOT / "params.yaml") | {"imagenet": ["tiny"], **changes}
    with (folder / "params.yaml").open("w") as file:
        YAML(typ="safe", pure=True).dump(content, file)
    return load_params(folder / "params.yaml")


def interval(value: float, half: float = 0.02) -> dict[str, float]:
    """A share as metrics have it; intervals of shares end at 0 and 1."""
    return {"value": value, "low": max(value - half, 0.0), "high": min(value + half, 1.0)}


def gap(value: float, half: float = 0.02) -> dict[str, float]:
    """A difference of shares likewise."""
    return {"value": value, "low": value - half, "high": value + half}


def scores(
    *,
    shape_bias: float | None = 0.25,
    top1: float | None = 0.75,
    original: float = 0.95,
    same: float = 0.85,
    rand: float = 0.80,
    half: float = 0.02,
    **more: object,
) -> dict[str, object]:
    """What metrics say of one predictor."""
    variants = {"original": original, "mixed_same": same, "mixed_rand": rand, "mixed_next": 0.7, "only_fg": 0.6}
    variants |= {"no_fg": 0.5, "only_bg_b": 0.4, "only_bg_t": 0.3}
    accuracy = None if top1 is None else {"top1": interval(top1, half), "top5": interval(min(top1 + 0.2, 1.0), half)}
    decided = round(100 * (shape_bias or 0.0))
    cue_conflict = {
        "shape_bias": None if shape_bias is None else interval(shape_bias, half),
        "num_shape": decided,
        "num_texture": 0 if shape_bias is None else 100 - decided,
        "num_images": 1280,
        "per_category": {
            name: [0, 0] if place or shape_bias is None else [decided, 100 - decided]
            for place, name in enumerate(CATEGORIES)
        },
    }
    return {
        "train": None if top1 is None else {"top1": interval(0.9, half), "top5": interval(0.99, half)},
        "val": accuracy,
        "stylized": None,
        "imagenet_a": None,
        "imagenet_sketch": None,
        "cue_conflict": cue_conflict,
        "in9": {name: interval(value, half) for name, value in variants.items()},
        "background_gap": gap(round(same - rand, 6), half),
        "challenge": {**interval(0.4, half), "num_foregrounds": 40, "num_backgrounds": 20},
        "released_in9": None,
        "released_background_gap": None,
        "released_challenge": None,
        **more,
    }


NO_FOLDER = "imagenet_scales.tiny.sets.{} is null: it names no folder"
ABSENT = {
    name: NO_FOLDER.format(folder)
    for name, folder in {
        "stylized": "stylized_val",
        "imagenet_a": "imagenet_a",
        "imagenet_sketch": "imagenet_sketch",
        "released_in9": "released_in9",
        "released_background_gap": "released_in9",
        "released_challenge": "released_in9",
    }.items()
}


def metrics(
    predictors: Mapping[str, object], *, classes: str = "imagenet", absent: Mapping[str, str] = ABSENT
) -> dict[str, Any]:
    """What `score_imagenet` writes."""
    return {
        "protocol": {"num_images": {"val": 1000}, "challenge": "every background"},
        "classes": classes,
        "heads": ["only"] if "only" in predictors else list(HEADS),
        "predictors": dict(predictors),
        "absent": dict(absent),
    }


def one_head(**numbers: Any) -> dict[str, Any]:
    """Metrics of a classifier of a thousand classes with one head."""
    return metrics({"only": scores(**numbers)})


NINE_ABSENT = {**ABSENT, **dict.fromkeys(("train", "val", "cue_conflict"), "a classifier of nine classes is not asked")}


def nine_classes(**numbers: Any) -> dict[str, Any]:
    """Metrics of a classifier of the nine classes with one head."""
    return metrics({"only": {**scores(top1=None, **numbers), "cue_conflict": None}}, classes="in9", absent=NINE_ABSENT)


def ensemble(by_predictor: Mapping[str, Mapping[str, Any]] | None = None, **numbers: Any) -> dict[str, Any]:
    """Metrics of a classifier with three heads, numbers alike but for those given by predictor."""
    return metrics({name: scores(**{**numbers, **(by_predictor or {}).get(name, {})}) for name in ENSEMBLE})


def write(folder: Path, name: str, content: Any, *, seed: int = 0) -> None:
    """The metrics of one run."""
    (folder / "metrics").mkdir(exist_ok=True)
    (folder / "metrics" / f"{name}-{seed}.json").write_text(json.dumps(content))


def write_default(folder: Path, *, seeds: tuple[int, ...] = (0,)) -> None:
    """The metrics that the lists of params.yaml name."""
    for seed in seeds:
        write(folder, "published", one_head(), seed=seed)
        write(folder, "original", one_head(), seed=seed)
        write(folder, "mixed_rand", nine_classes(), seed=seed)
        write(folder, ENSEMBLE_NAME, ensemble(), seed=seed)


def picture(folder: Path, file: str, colour: str, width: int = 8) -> str:
    """A picture file; returns what it is called."""
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, 8), colour).save(folder / file)
    return file


def write_explained(
    folder: Path,
    classifiers: Mapping[str, tuple[str, ...]],
    *,
    num_images: int = 2,
    shares: Mapping[str, tuple[float, float]] | None = None,
) -> Path:
    """What `explain_imagenet` writes of these classifiers and their heads; `shares` are Grad-CAM's and their errors, by head."""
    target = folder / "explained"
    target.mkdir(exist_ok=True)
    several = [name for name, heads in classifiers.items() if len(heads) > 1]
    images = {
        variant: [
            {
                "key": f"in9-val-{variant}-{place:08d}",
                "picture": picture(target, f"{variant}/{place}.png", "green"),
                "label": "fish",
                "background": "dog" if variant == "mixed_rand" else "fish",
                "object_area": 0.25,
                "num_opinions": dict.fromkeys(several, 3 - place % 3),
            }
            for place in range(num_images)
        ]
        for variant in ("original", "mixed_rand")
    }

    def head(name: str, of_head: str, variant: str) -> dict[str, Any]:
        value, error = (shares or {}).get(of_head, (0.5, 0.05))
        share = {"value": value, "error": error, "num_images": num_images}
        return {
            "share": {"grad_cam": share, "lime": {"value": 0.125, "error": 0.01, "num_images": num_images}},
            "absent": {"occlusion": "fewer than two images have any attribution"},
            "images": [
                {
                    "answers": [["tench", 0.75], ["goldfish", 0.125]],
                    "right": place == 0,
                    "share": {"grad_cam": 0.5, "occlusion": None, "lime": 0.125},
                    "picture": picture(target, f"{name}/{variant}/{place}-{of_head}.png", "red", 24),
                }
                for place in range(num_images)
            ],
        }

    content = {
        "protocol": {"seed": 0, "num_images": dict.fromkeys(images, num_images)},
        "images": images,
        "classifiers": {
            name: {
                "classes": "imagenet",
                "heads": {one: {variant: head(name, one, variant) for variant in images} for one in heads},
            }
            for name, heads in classifiers.items()
        },
    }
    (target / "explained.json").write_text(json.dumps(content))
    return target


DEFAULT_HEADS = {"published": ("only",), "original": ("only",), "mixed_rand": ("only",), ENSEMBLE_NAME: HEADS}
