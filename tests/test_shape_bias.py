"""Facts about coarser classes of ImageNet, and about shape bias."""

import csv
import json
import re
from pathlib import Path

import pytest
import torch

from cgn.data.imagenet_classes import IN9, SIXTEEN, coarse_labels
from cgn.errors import InputError
from cgn.evaluation.shape_bias import CATEGORIES, category_probabilities, shape_bias

SHARED = Path(__file__).parents[2] / "shared/data"
needs_data = pytest.mark.skipif(
    not SHARED.is_dir(), reason="needs the published decisions and class lists, not in this clone"
)


@pytest.mark.parametrize(
    ("classes", "sizes"),
    [
        (IN9, [116, 52, 42, 36, 35, 27, 26, 20, 16]),
        (SIXTEEN, [1, 4, 2, 49, 5, 7, 3, 6, 4, 3, 109, 2, 2, 1, 1, 8]),
    ],
)
def test_coarse_classes_are_of_the_published_sizes_and_share_no_class(classes: dict, sizes: list[int]) -> None:
    counts = torch.bincount(coarse_labels(classes) + 1, minlength=len(sizes) + 1).tolist()
    assert counts[1:] == sizes  # as many as the ranges say only where no two overlap
    assert sum(last - first + 1 for ranges in classes.values() for first, last in ranges) == sum(sizes)


@needs_data
def test_the_nine_classes_are_those_of_the_backgrounds_challenge() -> None:
    published = json.loads((SHARED / "imagenet_meta/in_to_in9.json").read_text())
    assert {int(number): label for number, label in published.items()} == dict(enumerate(coarse_labels(IN9).tolist()))


@needs_data
def test_the_sixteen_categories_are_those_of_texture_vs_shape() -> None:
    index = json.loads((SHARED / "imagenet_meta/imagenet_class_index.json").read_text())
    numbers = {wnid: int(number) for number, (wnid, _) in index.items()}
    published = json.loads((SHARED / "imagenet_meta/sixteen_classes_wnids.json").read_text())
    labels = coarse_labels(SIXTEEN)
    for place, name in enumerate(CATEGORIES):
        expected = sorted(numbers[wnid] for wnid in published[name] if wnid in numbers)
        assert (labels == place).nonzero().flatten().tolist() == expected, name


def test_a_category_is_as_likely_as_its_classes_are_on_average() -> None:
    probabilities = torch.zeros(2, 1000)
    probabilities[0, 404] = 0.2  # airplane, one class
    probabilities[0, 152:192] = 0.01  # 40 of 109 dogs: more in all, less on average
    probabilities[1, 444] = 0.5  # bicycle, one of two
    found = category_probabilities(probabilities)
    assert found.shape == (2, 16)
    assert CATEGORIES[int(found[0].argmax())] == "airplane"
    assert found[0, CATEGORIES.index("dog")].item() == pytest.approx(0.4 / 109)
    assert found[1, CATEGORIES.index("bicycle")].item() == pytest.approx(0.25)


SHAPES = ["cat", "cat", "dog", "dog", "car"]
TEXTURES = ["dog", "car", "cat", "car", "car"]  # the last one contradicts nothing


@pytest.mark.parametrize(
    ("decisions", "expected"),
    [
        (SHAPES, 1.0),  # always by shape
        (TEXTURES, 0.0),
        (["cat"] * 5, 2 / 3),  # a constant: right of two shapes and of one texture
        (["cat", "boat", "cat", "boat", "car"], 1 / 2),
    ],
)
def test_toy_classifiers_have_the_shape_bias_that_is_known(decisions: list[str], expected: float) -> None:
    found = shape_bias(decisions, SHAPES, TEXTURES)
    assert found.num_images == 4
    assert found.shape_bias == pytest.approx(expected, abs=1e-12)
    assert sum(map(sum, found.per_category.values())) == found.num_shape + found.num_texture


def test_counts_are_kept_by_the_category_of_the_shape() -> None:
    found = shape_bias(["cat", "car", "cat", "boat", "car"], SHAPES, TEXTURES)
    assert {name: counts for name, counts in found.per_category.items() if any(counts)} == {
        "cat": (1, 1),
        "dog": (0, 1),
    }


def test_a_shape_bias_of_no_decisions_is_an_error_and_not_0() -> None:
    found = shape_bias(["boat"] * 5, SHAPES, TEXTURES)
    with pytest.raises(InputError, match="found 4 images, none decided by shape or texture"):
        _ = found.shape_bias


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((["cat"], ["cat", "dog"], ["dog", "cat"]), "found 1 decisions, 2 shapes and 2 textures"),
        ((["tiger"], ["cat"], ["dog"]), "found 'tiger', allowed: airplane"),
        ((["cat"], ["cat"], ["cat"]), "found no image whose shape and texture differ"),
        (([], [], []), "found no image"),
    ],
)
def test_bad_decisions_are_refused(inputs: tuple[list[str], list[str], list[str]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        shape_bias(*inputs)


@needs_data
@pytest.mark.parametrize(("network", "published"), [("alexnet", "42.9"), ("googlenet", "31.2"), ("resnet50", "22.1")])
def test_published_decisions_give_the_published_shape_bias(network: str, published: str) -> None:
    (path,) = (SHARED / "cue_conflict_decisions").glob(f"*_{network}_*.csv")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    textures = [re.search(r"-([a-z]+)\d+\.png$", row["imagename"]).group(1) for row in rows]  # type: ignore[union-attr]
    found = shape_bias([row["object_response"] for row in rows], [row["category"] for row in rows], textures)
    assert len(rows) == 1280
    assert found.num_images == 1200
    assert f"{100 * found.shape_bias:.1f}" == published
