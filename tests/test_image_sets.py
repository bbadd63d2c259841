"""Facts about readers of other people's sets of images."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cgn.data.image_sets import read_class_folders, read_cue_conflict, read_released_in9, released_mask
from cgn.errors import InputError

SHARED = Path(__file__).parents[2] / "shared/data"
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the cue-conflict stimuli, not in this clone")


def pictures(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(folder / name)
    return folder


def test_a_folder_in_imagenets_form_may_have_some_of_the_classes(tmp_path: Path) -> None:
    folder = pictures(tmp_path, "n01443537/b.JPEG", "n01443537/a.png", "n01440764/a.JPEG")
    (folder / "README.txt").touch()
    (folder / "n01440764/.DS_Store").touch()
    found = read_class_folders(folder)
    assert list(found.keys) == ["n01440764/a", "n01443537/a", "n01443537/b"]
    assert found.classes.tolist() == [[0] * 3, [1] * 3, [1] * 3]
    assert found.images[1].path == folder / "n01443537/a.png"


def test_the_name_of_a_cue_tells_shape_and_texture(tmp_path: Path) -> None:
    found = read_cue_conflict(pictures(tmp_path, "cat/cat1-dog2.png", "cat/cat10-cat3.jpg", "boat/boat2-keyboard1.png"))
    assert list(zip(found.samples.keys, found.shapes, found.textures, strict=True)) == [
        ("boat/boat2-keyboard1", "boat", "keyboard"),
        ("cat/cat1-dog2", "cat", "dog"),
        ("cat/cat10-cat3", "cat", "cat"),
    ]
    assert (found.samples.classes == -1).all()


@needs_data
def test_the_published_cues_are_eighty_of_each_shape_and_of_each_texture() -> None:
    found = read_cue_conflict(SHARED / "cue_conflict")
    assert set(Counter(found.shapes).values()) == set(Counter(found.textures).values()) == {80}
    assert len(Counter(found.shapes)) == len(Counter(found.textures)) == 16


def test_the_released_set_is_labelled_by_the_numbers_of_its_folders(tmp_path: Path) -> None:
    names = ("mixed_rand/val/08_fish/fg_n01_1_bg_n02_3.JPEG", "mixed_rand/val/02_wheeled vehicle/a.JPEG")
    found = read_released_in9(pictures(tmp_path, *names), "mixed_rand")
    assert list(found.samples.keys) == ["02_wheeled vehicle/a", "08_fish/fg_n01_1_bg_n02_3"]
    assert list(found.labels) == [2, 8]
    assert list(found.foregrounds) == ["02_wheeled vehicle/a", "08_fish/n01_1"]


@pytest.mark.parametrize(
    "mask",
    [
        np.array([[True, False], [False, True]]),
        np.array([[1, 0], [0, 1]], dtype=np.int64),
        np.array([[1.0, 0.99], [0.0, 1.0]], dtype=np.float32),  # the script of the challenge cuts what is below 1
    ],
)
def test_released_masks_are_cut_as_the_script_of_the_challenge_cuts_them(tmp_path: Path, mask: np.ndarray) -> None:
    path = tmp_path / "fg_mask/val/00_dog/a.npy"
    path.parent.mkdir(parents=True)
    np.save(path, mask)
    assert released_mask(tmp_path, "00_dog/a").tolist() == [[255, 0], [0, 255]]


def in_class_folders(*names: str) -> Callable[[Path], object]:
    return lambda folder: read_class_folders(pictures(folder, *names))


def cues(*names: str) -> Callable[[Path], object]:
    return lambda folder: read_cue_conflict(pictures(folder, *names))


def released(variant: str, *names: str) -> Callable[[Path], object]:
    return lambda folder: read_released_in9(pictures(folder, *names), variant)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda folder: read_class_folders(folder / "none"), r"none: found no folder, expected one with a folder per"),
        (read_class_folders, "found no picture, expected some"),
        (in_class_folders("n00000001/a.png"), "found a folder called 'n00000001', expected one of the thousand"),
        (in_class_folders("tench/a.png"), "found a folder called 'tench', expected one of the thousand"),
        (in_class_folders("n01440764/a.png", "n01440764/a.jpg"), r"a\.png: found also a\.jpg, expected one picture of"),
        (in_class_folders("n01440764/a.gif"), r"n01440764/a\.gif: found no picture, expected \.jpeg, \.jpg"),
        (in_class_folders("n01440764/more/a.png"), r"n01440764/more: found no picture"),
        (cues("tiger/tiger1-cat1.png"), "found a folder called 'tiger', allowed: airplane"),
        (cues("cat/cat1-tiger1.png"), r"cat1-tiger1\.png: found the texture 'tiger', allowed: airplane"),
        (cues("cat/dog1-cat1.png"), r"dog1-cat1\.png: found a picture of that name, expected cat<number>-<texture>"),
        (cues("cat/cat-dog1.png"), r"cat-dog1\.png: found a picture of that name"),
        (cues("cat/cat1-dog2.png", "cat/cat1-dog2.jpg"), r"cat1-dog2\.png: found also cat1-dog2\.jpg"),
        (
            released("mixed_rand", "mixed_rand/val/dog/a.png"),
            "found a folder called 'dog', expected one of ImageNet-9's",
        ),
        (released("mixed_rand", "mixed_rand/val/09_cat/a.png"), "found a folder called '09_cat'"),
        (
            released("mixed_rand", "mixed_rand/val/0_dog/a.png", "mixed_rand/val/00_dog/a.png"),
            "found '00_dog' and '0_dog', expected one folder of class 0",
        ),
        (released("mixed_same", "mixed_rand/val/00_dog/a.png"), r"mixed_same/val: found no folder"),
        (released("mixed", "mixed/val/00_dog/a.png"), "variant: found 'mixed', allowed: original"),
    ],
)
def test_a_set_that_is_laid_out_otherwise_is_refused(
    tmp_path: Path, read: Callable[[Path], object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"a\.npy is missing, the mask of original/val/00_dog/a"),
        (b"no array", "found no array of numbers"),
        (np.full((2, 2), 255, dtype=np.uint8), r"found uint8 of shape \(2, 2\), expected numbers from 0 to 1"),
        (np.zeros((2, 2, 3)), r"found float64 of shape \(2, 2, 3\), expected numbers from 0 to 1 in two dimensions"),
        (np.full((2, 2), np.nan), "expected numbers from 0 to 1"),
        (np.array([["a"]]), r"found <U1 of shape \(1, 1\)"),
    ],
)
def test_a_mask_that_is_none_is_refused(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "fg_mask/val/00_dog/a.npy"
    path.parent.mkdir(parents=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(InputError, match=message):
        released_mask(tmp_path, "00_dog/a")
