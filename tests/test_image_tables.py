"""Photographs in folders of classes, as tables; and the ones that are drawn."""

import logging
from collections import Counter
from pathlib import Path

import pytest
import torch
from imagenet_road import params_with
from PIL import Image

from cgn.config import ImagesConfig
from cgn.data.drawn_images import CLASSES, draw, draw_cue_conflict
from cgn.data.image_tables import (
    IMAGES,
    IMAGES_SCHEMA,
    WORDNET,
    list_images,
    read_images,
    write_images,
)
from cgn.data.imagenet_classes import IN9, SIXTEEN, coarse_labels
from cgn.errors import InputError
from cgn.files import sha256
from cgn.rng import stream
from stages import fetch_images

TENCH, GOLDFISH = "n01440764", "n01443537"


def photographs(folder: Path, *files: str) -> Path:
    """A folder of photographs that differ by their names."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(file.encode())
    return folder


def config(train: Path, val: Path | None = None, val_share: float | None = None) -> ImagesConfig:
    return ImagesConfig(source="folder", train=str(train), val=None if val is None else str(val), val_share=val_share)


def test_wordnets_numbers_are_those_of_the_thousand_classes() -> None:
    assert (WORDNET["n01440764"], WORDNET["n02085620"], WORDNET["n15075141"]) == (0, 151, 999)
    assert sorted(WORDNET.values()) == list(range(1000))


def test_photographs_of_both_folders_are_listed_in_order_with_class_name_and_digest(tmp_path: Path) -> None:
    train = photographs(tmp_path / "train", f"{GOLDFISH}/b.JPEG", f"{GOLDFISH}/a.png", f"{TENCH}/images/c.jpg")
    val = photographs(tmp_path / "val", f"{GOLDFISH}/a.JPEG")
    table = list_images(tmp_path, config(train, val))
    assert table.schema.equals(IMAGES_SCHEMA)
    assert table.select(["part", "file", "class", "stem"]).to_pylist() == [
        {"part": "train", "file": f"{TENCH}/images/c.jpg", "class": 0, "stem": "c"},
        {"part": "train", "file": f"{GOLDFISH}/a.png", "class": 1, "stem": "a"},
        {"part": "train", "file": f"{GOLDFISH}/b.JPEG", "class": 1, "stem": "b"},
        {"part": "val", "file": f"{GOLDFISH}/a.JPEG", "class": 1, "stem": "a"},
    ]
    assert table["sha256"][3].as_py() == sha256(val / GOLDFISH / "a.JPEG")


def test_what_is_no_picture_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ("a.jpg", "a.xml", "b.xml", "README", "._a.jpg")  # the last is what archives leave
    train = photographs(tmp_path / "train", *(f"{TENCH}/{name}" for name in names))
    with caplog.at_level(logging.INFO):
        assert list_images(tmp_path, config(train, photographs(tmp_path / "val", f"{TENCH}/c.jpg"))).num_rows == 2
    assert "left out 3 files that are no pictures (2 .xml, 1 without a suffix)" in caplog.text


def test_folders_that_imagenet_does_not_know_are_named(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "train", f"{TENCH}/a.jpg", "n00000001/b.jpg", "cats/c.jpg")
    with pytest.raises(InputError, match=r"train: found the folders cats, n00000001, expected WordNet's numbers"):
        list_images(tmp_path, config(folder, folder))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["a.jpg"], "found no folders of classes, expected some, such as n01440764"),
        ([f"{TENCH}/a.txt"], "found no photograph for train, expected some"),
        (
            [f"{TENCH}/a.jpg", f"{GOLDFISH}/a.JPEG"],
            r"two photographs called 'a', n01440764/a.jpg and n01443537/a.JPEG, expected every name once",
        ),
    ],
)
def test_folders_that_are_no_set_of_photographs_are_refused(tmp_path: Path, files: list[str], message: str) -> None:
    folder = photographs(tmp_path / "train", *files)
    with pytest.raises(InputError, match=message):
        list_images(tmp_path, config(folder, folder))


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: found no folder, expected one of photographs"):
        list_images(tmp_path, config(tmp_path / "nowhere", tmp_path))


def test_a_share_of_every_class_is_held_out_the_same_whatever_else_there_is(tmp_path: Path) -> None:
    files = [f"{name}/{name}_{number}.JPEG" for name in (TENCH, GOLDFISH) for number in range(10)]
    folder = photographs(tmp_path / "all", *files)
    table = list_images(tmp_path, config(folder, val_share=0.3))
    parts = dict(zip(table["file"].to_pylist(), table["part"].to_pylist(), strict=True))
    assert sorted(parts) == sorted(files)
    assert Counter((part, file[:9]) for file, part in parts.items()) == {
        ("train", TENCH): 7,
        ("train", GOLDFISH): 7,
        ("val", TENCH): 3,
        ("val", GOLDFISH): 3,
    }
    alone = photographs(tmp_path / "alone", *files[:10])
    table = list_images(tmp_path, config(alone, val_share=0.3))
    assert dict(zip(table["file"].to_pylist(), table["part"].to_pylist(), strict=True)) == {
        file: parts[file] for file in files[:10]
    }


def test_classes_of_two_have_one_in_either_part_and_classes_of_one_are_trained_on(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "all", f"{TENCH}/a.jpg", f"{TENCH}/b.jpg", f"{GOLDFISH}/c.jpg")
    table = list_images(tmp_path, config(folder, val_share=0.01))
    assert sorted(zip(table["part"].to_pylist(), table["class"].to_pylist(), strict=True)) == [
        ("train", 0),
        ("train", 1),
        ("val", 0),
    ]
    alone = photographs(tmp_path / "alone", f"{TENCH}/a.jpg")
    with pytest.raises(InputError, match="alone: found no photograph for val"):
        list_images(tmp_path, config(alone, val_share=0.5))


def test_listed_photographs_are_read_as_samples_and_changed_ones_are_noticed(tmp_path: Path) -> None:
    train = photographs(tmp_path / "train", f"{GOLDFISH}/a.JPEG", f"{TENCH}/c.jpg")
    val = photographs(tmp_path / "val", f"{GOLDFISH}/b.JPEG", f"{TENCH}/d.jpg")
    images = config(train, val)
    (tmp_path / "list").mkdir()
    write_images(tmp_path / "list", list_images(tmp_path, images))
    samples = read_images(tmp_path / "list", images, "val")
    assert [one.read() for one in samples.images] == [b"n01440764/d.jpg", b"n01443537/b.JPEG"]
    assert samples.keys == ["d", "b"]
    assert samples.classes.tolist() == [[0, 0, 0], [1, 1, 1]]
    (val / GOLDFISH / "b.JPEG").write_bytes(b"another")
    with pytest.raises(
        InputError, match=r"b.JPEG is not the file that was listed: its SHA-256 differs; .*--force fetch_images"
    ):
        samples.images[1].read()
    (val / TENCH / "d.jpg").unlink()
    with pytest.raises(InputError, match=r"d.jpg is missing, but was there when images were listed"):
        samples.images[0].read()
    with pytest.raises(InputError, match="found no part 'test', expected train and val"):
        read_images(tmp_path / "list", images, "test")
    with pytest.raises(InputError, match=r"images.parquet is missing; run `dvc repro --force fetch_images`"):
        read_images(tmp_path, images, "val")


def test_photographs_of_both_parts_are_held_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train = photographs(tmp_path / "train", f"{TENCH}/a.jpg", f"{TENCH}/b.jpg")
    val = photographs(tmp_path / "val", f"{TENCH}/c.jpg")
    (val / TENCH / "d.jpg").write_bytes((train / TENCH / "b.jpg").read_bytes())
    table = list_images(tmp_path, config(train, val))
    assert table.select(["part", "stem"]).to_pylist() == [
        {"part": "train", "stem": "a"},
        {"part": "val", "stem": "c"},
        {"part": "val", "stem": "d"},
    ]
    assert f"1 of train's 2 photographs are val's too, such as {TENCH}/b.jpg and {TENCH}/d.jpg" in caplog.text
    with pytest.raises(
        InputError, match=r"2 of train's 2 photographs are val's too, .*expected other photographs in val"
    ):
        list_images(tmp_path, config(train, train))


def test_the_mask_of_a_drawing_is_where_its_object_is() -> None:
    one, other = (draw(207, 207, scenery, stream(0, "x"), height_px=60, width_px=80) for scenery in (8, 404))
    assert torch.equal(one.mask, other.mask)
    outside = (one.mask == 0).expand(3, -1, -1)
    assert torch.equal(
        one.pixels[(one.mask == 255).expand(3, -1, -1)], other.pixels[(one.mask == 255).expand(3, -1, -1)]
    )
    assert (one.pixels[outside] != other.pixels[outside]).float().mean() > 0.9
    assert 0.1 < (one.mask > 127).float().mean() < 0.6


def test_cue_conflict_has_shapes_with_textures_of_other_categories(tmp_path: Path) -> None:
    draw_cue_conflict(tmp_path / "cue_conflict")
    files = sorted(path.relative_to(tmp_path / "cue_conflict").as_posix() for path in tmp_path.rglob("*.png"))
    assert {file.split("/")[0] for file in files} == set(SIXTEEN)
    assert len(files) == 16 * 5
    shapes = [file.split("/")[1].split("-")[0] for file in files]
    textures = [file.removesuffix(".png").split("-")[1] for file in files]
    assert all(shape[:-1] == file.split("/")[0] for shape, file in zip(shapes, files, strict=True))
    assert all(shape[:-1] != texture[:-1] for shape, texture in zip(shapes, textures, strict=True))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What fetch_images draws at scale tiny."""
    folder = tmp_path_factory.mktemp("drawn")
    params = params_with(folder)
    fetch_images.main(["--params", str(params), "--scale", "tiny", "--out", str(folder / "images")])
    return folder


def test_drawn_images_are_listed_with_masks_of_their_size(drawn: Path) -> None:
    images = ImagesConfig(source="drawn", train=None, val=None, val_share=None)
    labels = coarse_labels(IN9)
    for part in ("train", "val"):
        samples = read_images(drawn / "images", images, part)
        places = Counter(labels[samples.classes[:, 0]].tolist())
        assert min(places[place] for place in range(9)) >= 6
        assert set(samples.classes[:, 0].tolist()) == set(CLASSES)
        for encoded in samples.images[:3] if isinstance(samples.images, list) else (samples.images[0],):
            mask = drawn / "images/masks" / encoded.path.relative_to(drawn / "images").with_suffix(".png")
            with Image.open(mask) as found, Image.open(encoded.path) as picture:
                assert found.size == picture.size
                assert (found.mode, picture.mode, picture.format) == ("L", "RGB", "JPEG")


def test_images_are_drawn_the_same_again(drawn: Path, tmp_path: Path) -> None:
    params = params_with(tmp_path, sets__cue_conflict=None)
    fetch_images.main(["--params", str(params), "--scale", "tiny", "--out", str(tmp_path / "images")])
    assert (tmp_path / "images" / IMAGES).read_bytes() == (drawn / "images" / IMAGES).read_bytes()
    mask = next((drawn / "images/masks").rglob("*.png"))
    assert mask.read_bytes() == (tmp_path / mask.relative_to(drawn)).read_bytes()
    assert not (tmp_path / "images/cue_conflict").exists()
