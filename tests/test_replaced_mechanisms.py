"""Facts about the benchmark that replaces one mechanism after another by the truth."""

import json
from pathlib import Path

import pytest
import torch
from isolation import ROOT
from tiny_pipeline import Project

from benchmarks import replaced_mechanisms
from benchmarks.replaced_mechanisms import VARIANTS, images_of, true_layers, true_masks
from cgn.checkpoints import FILE_NAME
from cgn.classifiers.fit import Source
from cgn.composer import compose, to_images, to_pixels
from cgn.config import load_params
from cgn.contracts import Factors
from cgn.data import DATASETS, NO_TEXTURES
from cgn.data.sources import read_digits
from cgn.data.types import LabelledDigits, Textures
from cgn.generators.counterfactuals import draw_originals
from cgn.rng import stream
from cgn.shards import read_split
from stages.generators import load_generator

PARTS = [60, 60]


def made(project: Project, name: str) -> Source:
    params = load_params(project.params)
    generator, recipe = load_generator(
        project.root / "checkpoints" / "cgn" / FILE_NAME, dataset="double_colored", seed=0
    )
    config = params.datasets.double_colored
    return images_of(
        VARIANTS[name],
        generator,
        train=read_split(project.real, "train")[:2],
        masks=true_masks(read_digits(project.root / "raw", "train").images, config),
        layers=true_layers("double_colored", config, NO_TEXTURES, stream(0, "layers")),
        parts=PARTS,
        cf_ratio=1,
        hard_masks="double_colored" in recipe.hard_masks,
        precision=params.compute.precision,
        seed=0,
    )


def test_where_nothing_is_replaced_the_images_are_those_that_classifiers_are_given(finished: Project) -> None:
    shards = read_split(finished.root / "generated", "generated")
    images = made(finished, "pipeline")
    assert images.pixels.equal(shards.pixels)
    assert images.labels.equal(shards.factors.shape)


def test_true_outlines_are_those_of_the_training_digits_and_true_layers_are_plain(finished: Project) -> None:
    digits = read_digits(finished.root / "raw", "train")
    rows = draw_originals(len(digits.labels), sum(PARTS), seed=0)
    masks = true_masks(digits.images, load_params(finished.params).datasets.double_colored)[rows].bool()
    images = made(finished, "all_true")
    assert images.labels.equal(digits.labels[rows])
    for pixels, mask in zip(images.pixels, masks, strict=True):
        for side in (mask, ~mask):
            assert len(pixels.masked_select(side).unflatten(0, (3, -1)).unique(dim=1)[0]) == 1


def test_every_part_of_the_images_is_replaced_by_its_own_variant(finished: Project) -> None:
    pixels = {name: made(finished, name).pixels for name in VARIANTS}
    assert all(not pixels[one].equal(pixels[other]) for one in VARIANTS for other in VARIANTS if one != other)


@pytest.mark.parametrize("dataset", list(DATASETS))
def test_an_image_is_its_true_layers_behind_its_true_mask(
    dataset: str, bundled: dict[str, LabelledDigits], textures: Textures
) -> None:
    config = getattr(load_params(ROOT / "params.yaml").datasets, dataset)
    digits = bundled["train"].images[:40]
    factors = Factors(*torch.randint(0, 10, (3, 40), generator=stream(0, "factors")))
    make = DATASETS[dataset].make_images
    images = make(digits, factors, config, stream(0, "images"), textures)
    layers = [
        to_images(make(torch.full_like(digits, ink), factors, config, stream(0, "images"), textures))
        for ink in (255, 0)
    ]
    composed = to_pixels(compose(true_masks(digits, config)[:, :1].float() / 255, *layers))
    assert (composed.int() - images.int()).abs().max() <= 1


def test_the_command_prints_an_accuracy_for_each_variant_and_test_set(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finished.link_as_in_a_clone(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["replaced_mechanisms", "--only", "pipeline", "true_masks"])
    replaced_mechanisms.main()
    found = json.loads(capsys.readouterr().out)["accuracy_percent"]
    assert set(found) == {"pipeline", "true_masks"}
    for accuracy in found.values():
        assert all(0 <= value <= 100 for value in accuracy.values())
        assert "test" in accuracy
