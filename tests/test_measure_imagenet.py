"""What is measured of the ImageNet CGN at scale `tiny`, and the page on it."""

import json
import re
from pathlib import Path

import pytest
import torch
from imagenet_road import Road, measure, params_with
from PIL import Image

from cgn.errors import InputError
from cgn.rng import stream
from stages import (
    fetch_judges,
    imagenet_judging,
)


def test_measures_say_what_they_depend_on(road: Road) -> None:
    measured = json.loads((road.metrics).read_text(encoding="utf-8"))
    assert measured["protocol"]["num_images"] == 20
    assert measured["protocol"]["effective_batch"] == 4
    assert measured["protocol"]["trained_for_steps"] == 3
    assert measured["protocol"]["size_px"] == 64
    assert 0 < measured["mask_mean"] < 1
    assert 0 <= measured["mask_iou"] <= 1
    assert 0 < measured["background_saliency"] < 1
    assert 0 < measured["reconstruction_l1"] < 2


def test_the_report_shows_the_run_and_says_that_it_proves_the_road(road: Road) -> None:
    report = road.metrics.parents[2] / "report/imagenet-tiny"
    page = (report / "index.html").read_text(encoding="utf-8")
    assert re.search(r"proves the road and not the pictures.*BigGAN .*, the saliency network, VGG16", page, re.DOTALL)
    assert "ring-tailed lemur" in page
    rows = json.loads((report / "results.json").read_text(encoding="utf-8"))
    measured = json.loads(road.metrics.read_text(encoding="utf-8"))
    assert {row["value"] for row in rows if row["metric"] == "mask_mean"} == {measured["mask_mean"]}
    assert {row["command"] for row in rows} == {"dvc repro measure_imagenet@tiny-authors_code-unchanged-0"}


def test_measures_of_untrained_judges_say_so_with_all_that_they_depend_on(road: Road) -> None:
    measured = json.loads((road.metrics).read_text(encoding="utf-8"))
    quality = measured["image_quality"]
    assert quality["protocol"]["inception"] == "random"
    assert {"num_images": 20, "num_splits": 2, "truncation": 0.5, "size_px": 64}.items() <= quality["protocol"].items()
    assert "not against ImageNet's" in quality["protocol"]["fid_to_teacher"]
    assert "299 px, bilinear" in quality["protocol"]["resize"]
    assert [row["num_images"] for row in quality["inception_score"]] == [10, 20]
    for row in quality["inception_score"]:
        assert all(1 <= row[of]["mean"] < 2 for of in ("composites", "teacher"))
    assert quality["fid_to_teacher"] > 0
    assert quality["fid_to_real"] is None
    assert quality["null_because"] == "real_images is null"
    effectiveness = measured["effectiveness"]
    assert effectiveness["protocol"]["classifier"] == "squeezenet1_0"
    assert effectiveness["protocol"]["classifier_weights"] == "random"
    for factor in ("shape", "texture", "background"):
        assert 0 <= effectiveness[factor]["top1"] <= effectiveness[factor]["top5"] <= 0.5


def test_without_judges_there_is_no_number_but_the_reason(road: Road, tmp_path: Path) -> None:
    none = {"source": "none", "location": None, "sha256": None}
    params = params_with(tmp_path, weights__inception=none, weights__classifier={**none, "name": "resnet50"})
    fetch_judges.main(["--params", str(params), "--scale", "tiny", "--out", str(tmp_path / "judges")])
    measure(params, road.weights, tmp_path / "judges", road.checkpoint)
    measured = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert measured["image_quality"] == {
        "inception_score": None,
        "fid_to_teacher": None,
        "fid_to_real": None,
        "teacher_fid_to_real": None,
        "null_because": "weights.inception.source is none",
    }
    assert measured["effectiveness"] == {
        "shape": None,
        "texture": None,
        "background": None,
        "null_because": "weights.classifier.source is none",
    }
    before = json.loads((road.metrics).read_text(encoding="utf-8"))
    assert all(measured[name] == before[name] for name in ("protocol", "mask_mean", "reconstruction_l1"))


def test_fid_against_photographs_says_which_they_were(road: Road, tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    few = {"image_quality__num_images": 4, "image_quality__score_at": [], "measure__num_images": 1}
    params = params_with(tmp_path, image_quality__real_images=str(folder), **few)
    with pytest.raises(InputError, match=r"photographs: found no picture, expected two or more"):
        measure(params, road.weights, road.judges, road.checkpoint)
    for value in (0, 255):
        Image.new("RGB", (80, 70), (value, 90, 0)).save(folder / f"{value}.png")
    measure(params, road.weights, road.judges, road.checkpoint)
    quality = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["image_quality"]
    assert quality["fid_to_real"] > 0
    assert quality["teacher_fid_to_real"] > 0
    assert quality["real_images"]["num_images"] == 2
    assert str(tmp_path) not in json.dumps(quality)


def test_counterfactuals_for_effectiveness_have_three_different_classes_each() -> None:
    labels = torch.stack(imagenet_judging._different(2000, 10, stream(0)))
    assert labels.shape == (3, 2000)
    assert all((labels[first] != labels[second]).all() for first, second in ((0, 1), (0, 2), (1, 2)))
    assert all((torch.bincount(of_factor, minlength=10) > 130).all() for of_factor in labels)
