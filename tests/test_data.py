"""Facts about the data sets: which factors they draw, what they show, and what the stage writes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from isolation import ROOT
from PIL import Image

from cgn.config import ColoredConfig, DatasetConfig, DoubleColoredConfig, WildlifeConfig, load_params
from cgn.config.datasets import NO_BACKGROUNDS
from cgn.contracts import Factors
from cgn.data import DATASETS, NO_TEXTURES, draw_factors, make_split, sources
from cgn.data.colored_mnist import PALETTE
from cgn.data.digit_masks import digit_masks
from cgn.data.double_colored_mnist import BACKGROUND_PALETTE, OBJECT_PALETTE
from cgn.data.types import LabelledDigits, Textures
from cgn.data.wildlife_mnist import crop
from cgn.rng import stream
from cgn.shards import read_split, splits_of
from stages import build_dataset

COLORED = ColoredConfig(color_std=0.0, correlation=1.0)
DOUBLE_COLORED = DoubleColoredConfig(color_std=0.0, binarize_above=0.1, correlation=1.0)
WILDLIFE = WildlifeConfig(texture_px=150, crop_padding_px=3, binarize_above=0.1, correlation=1.0)


def all_classes() -> Factors:
    return Factors(torch.arange(10), torch.arange(10), torch.arange(10))


def full_digits(ink: int, count: int = 10) -> torch.Tensor:
    return torch.full((count, 28, 28), ink, dtype=torch.uint8)


# ---- the true outlines


@pytest.mark.parametrize(
    ("dataset", "config"), [("colored", COLORED), ("double_colored", DOUBLE_COLORED), ("wildlife", WILDLIFE)]
)
def test_a_digits_true_outline_is_where_its_image_shows_it(
    dataset: str, config: DatasetConfig, bundled: dict[str, LabelledDigits]
) -> None:
    digits = LabelledDigits(*(part[:50] for part in bundled["train"]))
    white, black = ((torch.full((3, 150, 150), level, dtype=torch.uint8),) * 10 for level in (255, 0))
    factors = Factors(digits.labels, torch.full_like(digits.labels, 4), torch.full_like(digits.labels, 4))
    shown = DATASETS[dataset].make_images(digits.images, factors, config, stream(0), Textures(white, black))
    green = shown[:, 1:2].float()
    object_, background = {"colored": (245, 0), "double_colored": (0, 255), "wildlife": (255, 0)}[dataset]
    is_object = (green - object_).abs() < (green - background).abs()
    masks, labels = digit_masks(digits, config)
    assert torch.equal(masks, 255 * is_object.byte().expand(-1, 3, -1, -1))
    assert torch.equal(labels, digits.labels)


# ---- factors


@pytest.mark.parametrize("correlation", [0.1, 0.5, 0.95, 1.0])
def test_cues_equal_the_label_as_often_as_asked_and_else_are_uniform(correlation: float) -> None:
    labels = torch.arange(50_000) % 10
    factors = draw_factors(labels, correlation, stream(0, "test"), ("texture", "background"))
    assert torch.equal(factors.shape, labels)
    for cue in (factors.texture, factors.background):
        assert (cue == labels).double().mean().item() == pytest.approx(correlation, abs=0.01)
        others = ((cue - labels) % 10).bincount(minlength=10)[1:] / len(labels)
        assert torch.allclose(others, torch.full((9,), (1 - correlation) / 9), atol=0.01)


def test_the_configuration_knows_which_backgrounds_have_no_class() -> None:
    assert set(NO_BACKGROUNDS) == {name for name, one in DATASETS.items() if "background" not in one.cues}


def test_texture_and_background_are_drawn_independently() -> None:
    factors = draw_factors(torch.zeros(50_000).long(), 0.5, stream(0, "test"), ("texture", "background"))
    both = ((factors.texture == 0) & (factors.background == 0)).double().mean().item()
    assert both == pytest.approx(0.25, abs=0.01)


def test_a_background_that_is_no_cue_is_minus_one() -> None:
    assert set(draw_factors(torch.arange(10), 1.0, stream(0), ("texture",)).background.tolist()) == {-1}


@pytest.mark.parametrize(
    ("correlation", "cues", "complaint"),
    [(1.5, ("texture",), "found 1.5"), (1.0, ("background",), "expected 'texture'")],
)
def test_impossible_factors_are_refused(correlation: float, cues: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        draw_factors(torch.arange(10), correlation, stream(0), cues)


# ---- images


def test_a_full_colored_digit_shows_its_palette_entry_and_an_empty_one_black() -> None:
    shown = DATASETS["colored"].make_images(full_digits(255), all_classes(), COLORED, stream(0), NO_TEXTURES)
    assert torch.equal(shown, PALETTE.mul(255).round().byte()[:, :, None, None].expand(10, 3, 32, 32))
    assert DATASETS["colored"].make_images(full_digits(0), all_classes(), COLORED, stream(0), NO_TEXTURES).max() == 0


def test_half_the_ink_of_a_colored_digit_gives_half_the_colour() -> None:
    shown = DATASETS["colored"].make_images(full_digits(102), all_classes(), COLORED, stream(0), NO_TEXTURES)
    assert shown[4].unique().tolist() == [98]  # 245 * 102 / 255


def test_the_colours_of_colored_mnist_are_far_from_each_other_and_from_black() -> None:
    distances = torch.cdist(torch.cat([PALETTE, torch.zeros(1, 3)]), torch.cat([PALETTE, torch.zeros(1, 3)]))
    assert distances[~torch.eye(11, dtype=torch.bool)].min() > 0.4


def test_colored_noise_is_per_image_and_channel_with_the_configured_deviation() -> None:
    factors = Factors(*(torch.full((4000,), 9) for _ in range(3)))  # grey: far from the clipping at both ends
    config = ColoredConfig(color_std=0.05, correlation=1.0)
    shown = DATASETS["colored"].make_images(full_digits(255, 4000), factors, config, stream(0, "noise"), NO_TEXTURES)
    assert torch.equal(shown.amax((2, 3)), shown.amin((2, 3)))
    assert torch.allclose(shown[:, :, 0, 0].double().div(255).std(0), torch.full((3,), 0.05).double(), atol=0.003)


def test_colored_digits_are_enlarged_like_an_image_library_does() -> None:
    digit = torch.randint(256, (1, 28, 28), generator=stream(0), dtype=torch.uint8)
    white = Factors(*(torch.tensor([4]) for _ in range(3)))
    shown = DATASETS["colored"].make_images(digit, white, COLORED, stream(0), NO_TEXTURES)[0, 0].numpy()
    expected = np.array(Image.fromarray(digit[0].numpy()).resize((32, 32), Image.Resampling.NEAREST)).astype(float)
    assert np.abs(shown - expected * 245 / 255).max() <= 0.501


def test_double_colored_shows_one_colour_where_there_is_ink_and_another_where_not() -> None:
    ink = DATASETS["double_colored"].make_images(full_digits(26), all_classes(), DOUBLE_COLORED, stream(0), NO_TEXTURES)
    none = DATASETS["double_colored"].make_images(
        full_digits(25), all_classes(), DOUBLE_COLORED, stream(0), NO_TEXTURES
    )
    assert ink[:, :, 5, 5].tolist()[:2] == [[255, 255, 0], [222, 184, 135]]  # yellow, burlywood
    assert none[:, :, 5, 5].tolist()[:2] == [[0, 100, 0], [0, 0, 139]]  # darkgreen, darkblue
    assert torch.equal(ink[:, :, 0, 0], OBJECT_PALETTE.mul(255).round().byte())
    assert torch.equal(none[:, :, 0, 0], BACKGROUND_PALETTE.mul(255).round().byte())


def test_low_contrast_means_equal_colours_and_happens_to_a_tenth_of_unbiased_images(
    bundled: dict[str, LabelledDigits],
) -> None:
    split = make_split(
        "double_colored",
        bundled["train"],
        config=DOUBLE_COLORED,
        correlation=0.1,
        rng=stream(0, "test"),
        textures=NO_TEXTURES,
    )
    flat = (split.pixels.flatten(2).amax(2) == split.pixels.flatten(2).amin(2)).all(1)
    assert torch.equal(flat, split.low_contrast)
    assert split.low_contrast.double().mean().item() == pytest.approx(0.1, abs=0.02)


def test_biased_double_colored_images_are_never_of_low_contrast(bundled: dict[str, LabelledDigits]) -> None:
    split = make_split(
        "double_colored",
        bundled["val"],
        config=DOUBLE_COLORED,
        correlation=1.0,
        rng=stream(0),
        textures=NO_TEXTURES,
    )
    assert not split.low_contrast.any()


def test_masks_of_one_class_are_asked_to_differ_by_less_than_training_images_of_one_class_do(
    bundled: dict[str, LabelledDigits],
) -> None:
    """Where a class has one colour for ink and one for the rest, images differ exactly where their shapes do."""
    params = load_params(ROOT / "params.yaml")
    images = make_split(
        "double_colored",
        bundled["train"],
        config=params.datasets.double_colored,
        correlation=1.0,
        rng=stream(0),
        textures=NO_TEXTURES,
    )
    shares = []
    for label in range(10):
        pixels = images.pixels[images.labels == label][:100].int()
        differs = (pixels[:50] - pixels[50:]).abs().amax(1) > 64  # far more than the noise
        shares.append(differs.double().mean().item())
    assert shares[1] == pytest.approx(0.08, abs=0.01)
    assert min(shares[:1] + shares[2:]) > 0.12
    assert max(shares) == pytest.approx(0.19, abs=0.02)
    assert params.generator["cgn"].mask_distance < min(shares[:1] + shares[2:])


def test_wildlife_shows_the_object_texture_on_ink_and_the_background_texture_elsewhere() -> None:
    plain = [torch.full((3, 40, 50), value, dtype=torch.uint8) for value in range(20)]
    textures = Textures(tuple(plain[:10]), tuple(plain[10:]))
    digits = full_digits(0)
    digits[:, 14:] = 255
    factors = Factors(torch.arange(10), torch.arange(10), torch.arange(9, -1, -1))
    shown = DATASETS["wildlife"].make_images(digits, factors, WILDLIFE, stream(0), textures)
    assert torch.equal(shown[:, 0, 31, 31].long(), factors.texture)
    assert torch.equal(shown[:, 0, 0, 0].long(), 10 + factors.background)


def test_a_crop_is_the_square_at_its_corner() -> None:
    canvases = torch.randint(256, (10, 3, 60, 60), generator=stream(0), dtype=torch.uint8)
    classes, corners = torch.tensor([3, 7]), torch.tensor([[0, 28], [11, 5]])
    shown = crop(canvases, classes, corners)
    assert torch.equal(shown[0], canvases[3, :, 0:32, 28:60])
    assert torch.equal(shown[1], canvases[7, :, 11:43, 5:37])


@pytest.mark.parametrize(("padding_px", "num_crops"), [(0, 1), (3, 49)])
def test_crops_reach_as_far_into_the_reflected_border_as_the_padding_says(padding_px: int, num_crops: int) -> None:
    config = WildlifeConfig(texture_px=32, crop_padding_px=padding_px, binarize_above=0.1, correlation=1.0)
    texture = torch.randint(256, (3, 32, 32), generator=stream(0), dtype=torch.uint8)
    digits, zeros = full_digits(255, 500), torch.zeros(500, dtype=torch.long)
    shown = DATASETS["wildlife"].make_images(
        digits, Factors(zeros, zeros, zeros), config, stream(0), Textures((texture,) * 10, (texture,) * 10)
    )
    bordered = np.pad(texture.numpy(), [(0, 0), (padding_px,) * 2, (padding_px,) * 2], mode="reflect")
    expected = {
        bordered[:, top : top + 32, left : left + 32].tobytes()
        for top in range(2 * padding_px + 1)
        for left in range(2 * padding_px + 1)
    }
    assert {image.numpy().tobytes() for image in shown} == expected
    assert len(expected) == num_crops


def test_wildlife_without_textures_is_refused() -> None:
    with pytest.raises(ValueError, match="found 0 textures of one kind, expected 10"):
        DATASETS["wildlife"].make_images(full_digits(0), all_classes(), WILDLIFE, stream(0), NO_TEXTURES)


@pytest.mark.parametrize("dataset", sorted(DATASETS))
def test_every_data_set_depends_on_its_stream_alone(dataset: str, textures: Textures) -> None:
    params = load_params(ROOT / "params.yaml")
    digits = LabelledDigits(full_digits(255), torch.arange(10))
    config = getattr(params.datasets, dataset)
    used = textures if DATASETS[dataset].textured else NO_TEXTURES

    def images(name: str) -> torch.Tensor:
        rng = stream(0, name)
        return make_split(dataset, digits, config=config, correlation=1.0, rng=rng, textures=used).pixels

    assert torch.equal(images("a"), images("a"))
    assert not torch.equal(images("a"), images("b"))


def test_every_data_set_has_cues_and_a_section_in_params() -> None:
    params = load_params(ROOT / "params.yaml")
    assert set(DATASETS) == set(type(params.datasets).model_fields)


def test_an_unknown_data_set_is_refused() -> None:
    digits = LabelledDigits(full_digits(0), torch.arange(10))
    with pytest.raises(ValueError, match="found 'cifar', allowed: colored"):
        make_split("cifar", digits, config=COLORED, correlation=1.0, rng=stream(0), textures=NO_TEXTURES)


# ---- the stage


def test_the_built_splits_are_the_digits_with_the_bias_that_each_split_has(
    tmp_path: Path, bundled: dict[str, LabelledDigits]
) -> None:
    small = {split: LabelledDigits(digits.images[:200], digits.labels[:200]) for split, digits in bundled.items()}
    sources.write_digits(tmp_path, small)
    options = ["--params", str(ROOT / "params.yaml"), "--scale", "demo", "--dataset", "double_colored"]
    options += ["--environments", str(tmp_path / "environments")]
    build_dataset.main([*options, "--raw", str(tmp_path), "--out", str(tmp_path / "real")])
    assert set(splits_of(tmp_path / "real")) == {"train", "val", "val_unbiased", "unbiased", "test"}
    for split, biased in (
        ("train", True),
        ("val", True),
        ("val_unbiased", False),
        ("unbiased", False),
        ("test", False),
    ):
        batch = read_split(tmp_path / "real", split)
        assert torch.equal(batch.labels, small[{"unbiased": "train", "val_unbiased": "val"}.get(split, split)].labels)
        assert torch.equal(batch.factors.texture, batch.labels) == biased
        assert torch.equal(batch.factors.background, batch.labels) == biased


def test_an_environment_shows_all_training_digits_with_its_own_correlation(
    tmp_path: Path, bundled: dict[str, LabelledDigits]
) -> None:
    sources.write_digits(tmp_path, bundled)
    options = ["--params", str(ROOT / "params.yaml"), "--scale", "demo", "--dataset", "double_colored"]
    options += ["--environments", str(tmp_path / "environments")]
    build_dataset.main([*options, "--raw", str(tmp_path), "--out", str(tmp_path / "real")])
    for split, correlation in (("env_90", 0.9), ("env_100", 1.0)):
        batch = read_split(tmp_path / "environments", split)
        assert torch.equal(batch.labels, bundled["train"].labels)
        for cue in (batch.factors.texture, batch.factors.background):
            assert (cue == batch.labels).double().mean().item() == pytest.approx(correlation, abs=0.015)
    assert not torch.equal(batch.factors.texture, read_split(tmp_path / "environments", "env_90").factors.texture)


def test_wildlife_cannot_be_built_without_textures(tmp_path: Path, bundled: dict[str, LabelledDigits]) -> None:
    sources.write_digits(tmp_path, bundled)
    options = ["--params", str(ROOT / "params.yaml"), "--scale", "demo", "--dataset", "wildlife"]
    options += ["--environments", str(tmp_path / "environments")]
    with pytest.raises(ValueError, match="object: found no folder"):
        build_dataset.main([*options, "--raw", str(tmp_path), "--out", str(tmp_path / "real")])
