"""Classifiers of natural images at scale `tiny`, from photographs to the page: drawn ones in less than a minute on two cores, and real
ones with the real networks that others trained.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from imagenet_road import Road, fetch
from isolation import ROOT
from ruamel.yaml import YAML

from cgn.data.imagenet9 import VARIANTS
from cgn.data.imagenet_classes import IN9
from cgn.shards.mixes import read_mixes
from stages import (
    build_in9,
    explain_imagenet,
    fetch_backbone,
    fetch_images,
    predict_imagenet,
    report_imagenet_classifiers,
    score_imagenet,
    train_imagenet_classifier,
)

SHARED = ROOT.parent / "shared"
INDEX = SHARED / "data/in9_mini/index.json"
PHOTOGRAPHS = SHARED / "data/imagenet_samples"
CUE_CONFLICT = SHARED / "data/cue_conflict"
U2NETP = SHARED / "weights/u2netp/u2netp_bnfolded_fp16src.pth"
SQUEEZENET = SHARED / "weights/squeezenet1_0/squeezenet1_0_deepcompression_torchvision_keys.pth"
PER_CLASS = 11  # photographs of each of the nine classes
MIXED = "authors_code-unchanged-cgn_ensemble"
DRAWN, REAL = ("published", "original", "mixed_rand"), ("published", "last_layer")

needed = pytest.mark.skipif(
    not (
        PHOTOGRAPHS.is_dir() and INDEX.is_file() and CUE_CONFLICT.is_dir() and U2NETP.is_file() and SQUEEZENET.is_file()
    ),
    reason="needs photographs, cue conflict, U2-NetP and SqueezeNet in ../shared",
)


def on_photographs(test: Callable[[Path], None]) -> Callable[[Path], None]:
    """Marks what takes minutes and needs real data."""
    return pytest.mark.full(needed(test))


def some_photographs(train: Path, val: Path) -> None:
    """A few classes of each of ImageNet-9 whose photograph has a clear object, in either folder by turns."""
    listed = json.loads(INDEX.read_text(encoding="utf-8"))
    for place in range(len(IN9)):
        clear = [entry["wnid"] for entry in listed if entry["in9"] == place and entry["good_relaxed"]]
        for turn, wnid in enumerate(clear[:PER_CLASS]):
            shutil.copytree(PHOTOGRAPHS / wnid, (train, val)[turn % 2] / wnid)


def some_cue_conflict(target: Path) -> Path:
    """Two images of every category."""
    for folder in sorted(path for path in CUE_CONFLICT.iterdir() if path.is_dir()):
        (target / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[:2]:
            shutil.copy(path, target / folder.name)
    return target


def write_params(folder: Path, methods: Sequence[str], change: Callable[[Path, Any], None]) -> Path:
    """A params.yaml that lists these classifiers; `change` sees the folder and scale `tiny`."""
    yaml = YAML()
    content = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    content["imagenet"] = ["tiny"]
    content["imagenet_classifiers"] = list(methods)
    content["compute"]["threads"] = 1  # tests run side by side
    content["runtime"]["scratch"] = str(folder / "scratch")
    change(folder, content["imagenet_scales"]["tiny"])
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
    return folder / "params.yaml"


def on_real_images(folder: Path, tiny: Any) -> None:
    """Photographs and networks of `SHARED`."""
    train, val = folder / "train", folder / "val"
    some_photographs(train, val)
    tiny["images"] |= {"source": "folder", "train": str(train), "val": str(val)}
    tiny["sets"]["cue_conflict"] = str(some_cue_conflict(folder / "cue_conflict"))
    tiny["in9"] |= {"masks": "saliency", "size_px": 224}
    tiny["classifier"]["image_px"] = 224
    tiny["weights"]["saliency"] |= {"source": "path", "location": str(U2NETP)}
    tiny["weights"]["backbone"] |= {"source": "path", "name": "squeezenet1_0", "location": str(SQUEEZENET)}
    tiny["explain"] |= {"num_images": 2, "lime_samples": 10, "occlusion_px": 32}


@pytest.fixture(scope="module")
def drawn(road: Road, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drawn")
    return run_all(write_params(out, DRAWN, lambda *_: None), DRAWN, road, out)


@pytest.fixture(scope="module")
def folder(road: Road, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("photographs")
    return run_all(write_params(out, REAL, on_real_images), REAL, road, out)


def run_all(params: Path, methods: Sequence[str], road: Road, out: Path) -> Path:
    """All stages, one after another, as dvc.yaml has them."""
    common = ["--params", str(params)]
    at_tiny = [*common, "--scale", "tiny"]
    fetch(params, out / "weights")
    fetch_images.main([*at_tiny, "--out", str(out / "images")])
    fetch_backbone.main([*at_tiny, "--out", str(out / "backbone")])
    weights = ["--weights", str(out / "weights")]
    build_in9.main([*at_tiny, "--images", str(out / "images"), *weights, "--out", str(out / "in9")])
    data = ["--images", str(out / "images"), "--in9", str(out / "in9")]
    for name in (*methods, MIXED):
        generated = ["--generated", str(road.shards)] if name == MIXED else []
        where = ["--out", str(out / "checkpoints" / name / "0"), "--record", str(out / "records" / name / "0")]
        method = ["--method", name.rpartition("-")[2], "--seed", "0", "--backbone", str(out / "backbone")]
        train_imagenet_classifier.main([*at_tiny, *method, *data, *generated, *where])
        checkpoint = ["--checkpoint", str(out / "checkpoints" / name / "0")]
        predictions = str(out / "predictions" / name / "0")
        predict_imagenet.main([*at_tiny, "--seed", "0", *checkpoint, *data, "--out", predictions])
        metrics = str(out / "metrics" / f"{name}-0.json")
        score_imagenet.main([*common, "--seed", "0", "--predictions", predictions, "--metrics", metrics])
    checkpoints = ["--checkpoints", str(out / "checkpoints")]
    explain_imagenet.main([*at_tiny, *checkpoints, "--in9", str(out / "in9"), "--out", str(out / "explained")])
    made = [
        "--metrics",
        str(out / "metrics"),
        "--explained",
        str(out / "explained"),
        "--backbone",
        str(out / "backbone"),
    ]
    report_imagenet_classifiers.main([*at_tiny, *made, "--out", str(out / "report")])
    return out


def metrics_of(folder: Path, name: str) -> dict[str, object]:
    content = json.loads((folder / "metrics" / f"{name}-0.json").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def test_drawn_images_go_the_whole_road(drawn: Path) -> None:
    counts = {variant: read_mixes(drawn / "in9", "val", variant).num_rows for variant in VARIANTS}
    assert min(counts.values()) == max(counts.values()) >= 2 * len(IN9)
    heads = {"average", "shape_texture", "shape", "texture", "background"}
    for name in (*DRAWN, MIXED):
        predictors = metrics_of(drawn, name)["predictors"]
        assert set(predictors) == (heads if name == MIXED else {"only"})  # type: ignore[call-overload]
        for found in predictors.values():  # type: ignore[attr-defined]
            assert set(found["in9"]) == set(VARIANTS)
    page = (drawn / "report/index.html").read_text(encoding="utf-8")
    for label in ("IN, as published", "IN + CGN", "Mixed-Rand"):
        assert label in page
    assert list((drawn / "explained").rglob("*.png"))


@on_photographs
def test_photographs_become_all_variants_with_their_own_masks(folder: Path) -> None:
    found = {variant: read_mixes(folder / "in9", "val", variant).num_rows for variant in VARIANTS}
    assert (
        min(found.values()) == max(found.values()) >= 9
    )  # of 18, but for those whose objects are too small or too large


@on_photographs
def test_a_trained_network_tells_objects_and_an_untrained_one_would_not(folder: Path) -> None:
    known = metrics_of(folder, "published")["predictors"]["only"]  # type: ignore[index]
    assert known["val"]["top1"]["value"] > 0.3  # probably training images of this network; chance is a thousandth
    assert known["in9"]["original"]["value"] > 0.4
    assert known["in9"]["only_bg_b"]["value"] < known["in9"]["original"]["value"]
    retrained = metrics_of(folder, "last_layer")["predictors"]["only"]  # type: ignore[index]
    assert retrained["in9"]["original"]["value"] > 0.4  # features of the same network; chance is a ninth


@on_photographs
def test_every_classifier_has_its_predictors_and_says_what_it_was_not_asked(folder: Path) -> None:
    three = metrics_of(folder, MIXED)
    assert set(three["predictors"]) == {"average", "shape_texture", "shape", "texture", "background"}  # type: ignore[arg-type]
    nine = metrics_of(folder, "last_layer")
    assert set(nine["predictors"]) == {"only"}  # type: ignore[arg-type]
    assert "cue_conflict" in str(nine["absent"])


@on_photographs
def test_the_page_has_the_rows_of_all_classifiers(folder: Path) -> None:
    page = (folder / "report/index.html").read_text(encoding="utf-8")
    for label in ("IN, as published", "IN + CGN"):
        assert label in page
    assert (folder / "report/table3.csv").is_file()
    assert (folder / "report/table4.tex").is_file()
