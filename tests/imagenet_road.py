"""The ImageNet road at scale `tiny`: its params.yaml, its stages' command lines, and what `dvc repro` leaves of it."""

import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from isolation import ROOT
from ruamel.yaml import YAML
from tiny_repository import call

from stages import fetch_weights, generate_imagenet, measure_imagenet, train_imagenet


def params_with(folder: Path, **changes: object) -> Path:
    """A params.yaml with fields of `imagenet_scales.tiny`, by their dotted names, set otherwise, and `tiny` listed."""
    yaml = YAML()
    content = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    content["imagenet"] = ["tiny"]
    content["compute"]["threads"] = 1  # tests run side by side
    content["runtime"]["scratch"] = str(folder / "scratch")
    for name, value in changes.items():
        section = content["imagenet_scales"]["tiny"]
        *parents, last = name.split("__")
        for parent in parents:
            section = section[parent]
        section[last] = value
    path = folder / "params.yaml"
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
    return path


def with_recipe(path: Path, **changes: object) -> Path:
    """The same file with fields of the recipe set otherwise."""
    yaml = YAML()
    content = yaml.load(path.read_text(encoding="utf-8"))
    content["imagenet_cgn"]["authors_code"] |= changes
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
    return path


def fetch(params: Path, out: Path) -> None:
    fetch_weights.main(["--params", str(params), "--scale", "tiny", "--out", str(out)])


def train(params: Path, weights: Path, out: Path) -> None:
    names = ["--scale", "tiny", "--recipe", "authors_code", "--change", "unchanged", "--seed", "0"]
    paths = ["--weights", str(weights), "--out", str(out / "checkpoint"), "--record", str(out / "record")]
    train_imagenet.main(["--params", str(params), *names, *paths])


class Road(NamedTuple):
    """What `dvc repro` leaves of the road."""

    weights: Path
    judges: Path
    checkpoint: Path
    record: Path
    shards: Path
    sheets: Path
    metrics: Path


def make_road(folder: Path) -> Road:
    """Run `dvc repro` for the road's stages in a copy of the project."""
    folder.mkdir()
    for name in ("cgn", "stages"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".dvc/config", "dvc.yaml"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    params_with(folder)
    call(folder, "git", "init", "--quiet")
    stages = (
        "fetch_weights",
        "fetch_judges",
        "train_imagenet",
        "generate_imagenet",
        "illustrate_imagenet",
        "measure_imagenet",
        "report_imagenet",
    )
    call(folder, sys.executable, "-m", "dvc", "repro", "--quiet", *stages)
    names = ("checkpoints", "records", "shards", "sheets")
    parts = (folder / "data" / name / "imagenet-tiny/authors_code-unchanged/0" for name in names)
    fetched = (folder / "data/weights/tiny", folder / "data/judges/imagenet-tiny")
    return Road(*fetched, *parts, folder / "data/metrics/imagenet-tiny/authors_code-unchanged-0.json")


def generate(params: Path, road: Road, out: Path) -> None:
    names = [
        "--scale",
        "tiny",
        "--recipe",
        "authors_code",
        "--change",
        "unchanged",
        "--seed",
        "0",
        "--weights",
        str(road.weights),
    ]
    paths = ["--checkpoint", str(road.checkpoint), "--out", str(out)]
    generate_imagenet.main(["--params", str(params), *names, *paths])


def measure(params: Path, weights: Path, judges: Path, checkpoint: Path, *, seed: int = 0) -> None:
    names = ["--scale", "tiny", "--seed", str(seed), "--weights", str(weights), "--judges", str(judges)]
    paths = ["--checkpoint", str(checkpoint), "--metrics", str(params.parent / "metrics.json")]
    measure_imagenet.main(["--params", str(params), *names, *paths])
