"""Facts about the hand-made generator: how it tells objects from backgrounds, and what it makes of them."""

import pytest
import torch
from isolation import ROOT
from torch import Tensor
from torch.nn import functional as F

from cgn.composer import to_pixels
from cgn.config import CutPasteConfig, load_params
from cgn.contracts import Factors
from cgn.data import DATASETS, make_split
from cgn.data.types import NO_TEXTURES, LabelledDigits, LabelledImages, Textures
from cgn.errors import InputError
from cgn.generators import CutPaste, CutPasteTraining, Run
from cgn.generators.base import Noise
from cgn.generators.segmentation import fill, segment
from cgn.rng import stream

PARAMS = load_params(ROOT / "params.yaml")
CONFIG = PARAMS.generator["cut_paste"].model_copy(update={"images_per_class": 20})


def made(dataset: str, digits: LabelledDigits, textures: Textures) -> LabelledImages:
    used = textures if DATASETS[dataset].textured else NO_TEXTURES
    config = getattr(PARAMS.datasets, dataset)
    return make_split(dataset, digits, config=config, correlation=1.0, rng=stream(0), textures=used)


def trained(images: LabelledImages, config: CutPasteConfig = CONFIG) -> CutPasteTraining:
    training = CutPasteTraining(config, images.pixels, images.labels, Run("wildlife", 1, "float32", 0, 0))
    list(training.records())
    return training


def ink(digits: LabelledDigits) -> Tensor:
    """Where the data sets show the object."""
    return F.interpolate(digits.images[:, None].float() / 255, size=32, mode="nearest") > 0.1


@pytest.mark.parametrize(("dataset", "least"), [("double_colored", 0.99), ("wildlife", 0.7)])
def test_objects_are_found_by_their_colours(
    dataset: str, least: float, bundled: dict[str, LabelledDigits], textures: Textures
) -> None:
    digits = bundled["train"]
    found, expected = segment(made(dataset, digits, textures).pixels, digits.labels), ink(digits)
    overlap = ((found & expected).flatten(1).sum(1) / (found | expected).flatten(1).sum(1)).double()
    assert min(overlap[digits.labels == label].mean().item() for label in range(10)) > least


def test_an_image_is_segmented_by_its_own_class_whatever_the_order() -> None:
    pixels = torch.randint(256, (40, 3, 32, 32), generator=stream(0), dtype=torch.uint8)
    labels = torch.arange(40) % 4
    order = torch.randperm(40, generator=stream(1))
    whole = segment(pixels, labels)
    assert torch.equal(segment(pixels[order], labels[order]), whole[order])
    assert torch.equal(segment(pixels[labels == 2], labels[labels == 2]), whole[labels == 2])


def test_filling_repeats_what_is_nearest_and_leaves_what_is_known() -> None:
    images = torch.rand(2, 3, 32, 32, generator=stream(0)) * 2 - 1
    known = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    known[0, :, 4, 7] = True
    known[1, :, :, :5] = True
    filled = fill(images, known)
    torch.testing.assert_close(filled[0], images[0, :, 4:5, 7:8].expand(-1, 32, 32))
    assert torch.equal(filled[1, :, :, :5], images[1, :, :, :5])
    torch.testing.assert_close(filled[1, :, 16, 5], images[1, :, 15:18, 4].mean(1))


def test_an_image_of_which_nothing_is_known_stays_as_it_is() -> None:
    images = torch.rand(1, 3, 32, 32, generator=stream(0))
    assert torch.equal(fill(images, torch.zeros(1, 1, 32, 32, dtype=torch.bool)), images)


def test_changing_nothing_gives_the_training_image_back(bundled: dict[str, LabelledDigits], textures: Textures) -> None:
    training = trained(made("wildlife", bundled["train"], textures))
    generator = training.shown
    labels = torch.arange(10)
    chosen, still = torch.full((10, 1), 0.5), torch.zeros(10, 2, dtype=torch.long)
    noise = Noise(chosen, chosen, chosen, still, still)
    layers = generator(noise, Factors(labels, labels, labels))
    assert torch.equal(to_pixels(layers.composite), training.pixels[training.rows[10::20]])

    other = generator(noise, Factors(labels, labels, labels.roll(1)))  # another background changes nothing else
    assert torch.equal(other.mask, layers.mask)
    assert torch.equal(other.foreground, layers.foreground)
    assert not torch.equal(other.background, layers.background)


def test_every_class_keeps_its_images_once_and_again_only_where_there_are_too_few() -> None:
    pixels = torch.arange(200, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 32, 32).contiguous()
    labels = torch.arange(200) % 10
    images = LabelledImages(pixels, labels, Factors(labels, labels, labels), torch.zeros(200, dtype=torch.bool))
    for kept, at_most in ((20, 1), (30, 2)):
        generator = trained(images, CONFIG.model_copy(update={"images_per_class": kept})).shown
        values = generator.backgrounds[:, 0, 0, 0].long()
        assert torch.equal(values % 10, torch.arange(10).repeat_interleave(kept))
        counts = values.bincount(minlength=200)
        assert counts.min() >= 1
        assert counts.max() == at_most


def test_a_class_without_images_is_refused() -> None:
    labels = torch.arange(18) % 9
    pixels = torch.zeros(18, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(InputError, match="found no training image of class 9"):
        CutPasteTraining(CONFIG, pixels, labels, Run("colored", 1, "float32", 0, 0))


def test_the_seed_chooses_the_images(bundled: dict[str, LabelledDigits], textures: Textures) -> None:
    images = made("colored", bundled["train"], textures)
    first, again = trained(images), trained(images)
    assert all(torch.equal(part, again.weights()[name]) for name, part in first.weights().items())
    other = CutPasteTraining(CONFIG, images.pixels, images.labels, Run("colored", 1, "float32", 1, 0))
    assert not torch.equal(other.rows, first.rows)
    fresh = CutPaste(CONFIG)
    fresh.load_state_dict(first.weights())
    assert torch.equal(fresh.foregrounds, first.shown.foregrounds)
