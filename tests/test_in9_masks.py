"""Where objects are found, and which images are left out."""

import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from cgn.data.imagenet9 import Box, box_of
from cgn.data.in9_masks import (
    NOT_ELIGIBLE,
    Annotation,
    Found,
    annotated_box,
    annotation_file,
    by_grabcut,
    by_saliency,
    decoded_mask,
    of_mask,
    read_annotation,
    read_mask,
    salience_mask,
    saliency_input,
)
from cgn.data.in9_pictures import Frame, LeftOut, frame_of, jpeg, read_upright, to_tensor
from cgn.errors import InputError
from cgn.models.u2net import SMALL, for_inference, load_u2net

SHARED = Path(__file__).parents[2] / "shared"
WHOLE = frame_of(64, 64, 64)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def mask_image(box: Box, width: int = 64, height: int = 64) -> Image.Image:
    mask = np.zeros((height, width), np.uint8)
    mask[box.top : box.bottom, box.left : box.right] = 255
    return Image.fromarray(mask)


# ---- frames


def test_the_middle_of_an_image_is_kept_as_the_published_script_crops_it() -> None:
    frame = frame_of(500, 375, 224)
    assert frame.side == 375 * 224 / 256
    assert (frame.left, frame.top) == ((500 - frame.side) / 2, (375 - frame.side) / 2)
    assert frame.crop == Box(86, 23, 414, 352)


def test_an_image_that_has_been_cropped_is_kept_whole() -> None:
    image = Image.effect_noise((64, 64), 50).convert("RGB")
    assert frame_of(64, 64, 64) == Frame(0, 0, 64, 64)
    assert WHOLE.applied(image).tobytes() == image.tobytes()


def test_images_and_boxes_are_moved_alike() -> None:
    frame = frame_of(160, 128, 56)  # half the size: the side of 112 to 56
    box = Box(40, 30, 90, 70)
    found = box_of(torch.from_numpy(np.array(frame.applied(mask_image(box, 160, 128))))[None], above=0)
    moved = frame.moved(box)
    assert moved == Box(8, 11, 33, 31)
    assert all(abs(one - other) <= 1 for one, other in zip(found, moved, strict=True))
    assert frame.moved(Box(0, 0, 160, 128)) == Box(0, 0, 56, 56)


# ---- pictures


def test_greyscale_is_taken_as_rgb() -> None:
    image = read_upright(encoded(Image.effect_noise((8, 8), 50)), "x")
    assert isinstance(image, Image.Image)
    assert (image.mode, image.size) == ("RGB", (8, 8))


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(Image.new("RGB", (8, 8)), exif=exif)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: encoded(Image.new("CMYK", (8, 8))), LeftOut("neither RGB nor greyscale of 8 bits", "CMYK")),
        (lambda: encoded(Image.new("I;16", (8, 8)), "PNG"), LeftOut("neither RGB nor greyscale of 8 bits", "I;16")),
        (turned, LeftOut("stored turned or mirrored", "EXIF orientation 6")),
        (lambda: encoded(Image.new("L", (4097, 1)), "PNG"), LeftOut("larger than 4096 px a side", "4097 x 1")),
    ],
)
def test_pictures_that_may_be_read_otherwise_are_left_out(make: Callable[[], bytes], expected: LeftOut) -> None:
    assert read_upright(make(), "x") == expected


def test_a_picture_of_a_hundred_gigapixels_is_left_out_unread() -> None:
    content = bytearray(encoded(Image.new("L", (8, 8)), "PNG"))
    content[16:24] = (400_000).to_bytes(4, "big") * 2
    header = bytes(content[12:29])
    content[29:33] = zlib.crc32(header).to_bytes(4, "big")
    found = read_upright(bytes(content), "x")
    assert isinstance(found, LeftOut)
    assert found.why == "larger than 4096 px a side"


@pytest.mark.parametrize("content", [b"", b"no picture", encoded(Image.effect_noise((64, 64), 50))[:-400]])
def test_damaged_pictures_are_named(content: bytes) -> None:
    with pytest.raises(
        InputError, match=r"n01/a.JPEG: found (no JPEG, PNG or WEBP image|a damaged image \(.*\)); mend it"
    ):
        read_upright(content, "n01/a.JPEG")


def test_a_jpeg_is_as_good_as_its_quality() -> None:
    picture = to_tensor(Image.fromarray(np.tile(np.arange(64, dtype=np.uint8)[:, None, None] * 3, (1, 64, 3))))
    with Image.open(io.BytesIO(jpeg(picture, 95))) as image:
        assert (to_tensor(image).int() - picture.int()).abs().max() <= 2


# ---- given masks


def test_a_mask_is_read_as_it_is(tmp_path: Path) -> None:
    mask_image(Box(2, 3, 10, 12)).convert("1").save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png", 64, 64).tobytes() == mask_image(Box(2, 3, 10, 12)).tobytes()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "a.png: found no mask, expected a PNG; add it, or take the image out"),
        (mask_image(Box(2, 2, 30, 30), 32, 64), "a.png: found a mask of 32 x 64 px, expected 64 x 64 as its image"),
        (mask_image(Box(0, 0, 0, 0)), "a.png: found no pixel above 127, expected an object"),
        (Image.new("L", (64, 64), 127), "a.png: found no pixel above 127, expected an object"),
        (Image.new("RGB", (64, 64)), "a.png: found a RGB picture, expected greyscale of 8 bits"),
        (Image.new("I;16", (64, 64)), "a.png: found a I;16 picture, expected greyscale of 8 bits"),
    ],
)
def test_masks_that_cannot_be_used_are_named(tmp_path: Path, image: Image.Image | None, message: str) -> None:
    if image is not None:
        image.save(tmp_path / "a.png")
    with pytest.raises(InputError, match=message):
        read_mask(tmp_path / "a.png", 64, 64)


def test_an_object_is_found_by_its_mask_where_the_image_is_kept() -> None:
    frame = frame_of(160, 128, 112)  # nothing is scaled
    found = of_mask(mask_image(Box(40, 30, 90, 70), 160, 128), frame)
    assert isinstance(found, Found)
    assert found.box == Box(16, 22, 66, 62)
    assert torch.equal(
        decoded_mask(found.mask)[0], torch.from_numpy(np.array(mask_image(Box(16, 22, 66, 62), 112, 112)))
    )


def test_what_is_more_than_half_an_objects_is_wholly_its() -> None:
    soft = Image.fromarray(np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1)))
    found = of_mask(soft, WHOLE)
    assert isinstance(found, Found)
    assert decoded_mask(found.mask).unique().tolist() == [0, 255]
    assert found.box == Box(32, 0, 64, 64)


@pytest.mark.parametrize("box", [Box(0, 0, 64, 64), Box(0, 0, 64, 58)])
def test_a_mask_that_leaves_less_than_a_tenth_of_background_is_left_out(box: Box) -> None:
    found = of_mask(mask_image(box), WHOLE)
    assert isinstance(found, LeftOut)
    assert found.why == NOT_ELIGIBLE


def test_an_object_outside_of_the_middle_is_left_out() -> None:
    found = of_mask(mask_image(Box(0, 30, 50, 90), 320, 128), frame_of(320, 128, 64))
    assert isinstance(found, LeftOut)
    assert found.why == NOT_ELIGIBLE


def test_an_object_of_which_only_the_box_reaches_the_middle_is_left_out() -> None:
    mask = np.zeros((128, 320), np.uint8)  # within 104 to 216 nothing, between far corners of its box
    mask[60:64, 90:100] = mask[60:64, 230:240] = 255
    found = of_mask(Image.fromarray(mask), frame_of(320, 128, 64))
    assert isinstance(found, LeftOut)
    assert found.why == "no object in the middle"


# ---- GrabCut


def annotation(width: int = 64, height: int = 64, *boxes: Box) -> str:
    objects = "".join(
        f"<object><name>n01</name><bndbox><xmin>{box.left}</xmin><ymin>{box.top}</ymin><xmax>{box.right}</xmax>"
        f"<ymax>{box.bottom}</ymax></bndbox></object>"
        for box in boxes
    )
    return f"<annotation><size><width>{width}</width><height>{height}</height></size>{objects}</annotation>"


def test_boxes_are_read_from_imagenets_files(tmp_path: Path) -> None:
    (tmp_path / "n01440764").mkdir()
    one, flat = tmp_path / "n01440764/n01440764_10026.xml", tmp_path / "ILSVRC2012_val_00000001.xml"
    one.write_text(annotation(500, 375, Box(1, 2, 30, 40), Box(5, 6, 70, 80)))
    flat.write_text(annotation())
    assert annotation_file(tmp_path, "n01440764/n01440764_10026.JPEG") == one
    assert annotation_file(tmp_path, "n01440764/ILSVRC2012_val_00000001.JPEG") == flat
    assert annotation_file(tmp_path, "n01440764/n01440764_1.JPEG") is None
    assert read_annotation(one) == Annotation(500, 375, (Box(1, 2, 30, 40), Box(5, 6, 70, 80)))


@pytest.mark.parametrize(
    "text",
    ["", "<annotation/>", "<annotation><size><width>3</width><height>x</height></size></annotation>", "\x00\xff"],
)
def test_damaged_annotations_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.xml").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"a.xml: found no annotation as ImageNet's are"):
        read_annotation(tmp_path / "a.xml")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (Annotation(64, 48, (Box(9, 9, 30, 30),)), "its annotation is of an image of another size"),
        (Annotation(64, 64, ()), "not exactly one box"),
        (Annotation(64, 64, (Box(9, 9, 30, 30), Box(9, 9, 30, 31))), "not exactly one box"),
        (Annotation(64, 64, (Box(0, 0, 64, 64),)), NOT_ELIGIBLE),
        (Annotation(64, 64, (Box(9, 9, 9, 30),)), NOT_ELIGIBLE),
    ],
)
def test_images_that_the_original_rules_skip_are_left_out(said: Annotation, why: str) -> None:
    found = annotated_box(said, 64, 64, WHOLE)
    assert isinstance(found, LeftOut)
    assert found.why == why


def test_a_box_that_reaches_out_of_its_image_is_cut() -> None:
    assert annotated_box(Annotation(64, 64, (Box(-3, 9, 30, 70),)), 64, 64, WHOLE) == Box(0, 9, 30, 64)


def disc(noise: int = 0) -> tuple[Image.Image, np.ndarray]:
    """A red disc on green, and where it is."""
    y, x = np.mgrid[:64, :64]
    inside = (y - 30) ** 2 + (x - 34) ** 2 < 18**2
    pixels = np.where(inside[..., None], (220, 40, 40), (30, 160, 60)) + np.random.default_rng(noise).normal(
        0, 12, (64, 64, 3)
    )
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), inside


def test_grabcut_finds_an_object_in_its_box_the_same_every_time() -> None:
    image, inside = disc()
    box = Box(12, 8, 56, 52)
    found = by_grabcut(image, box, WHOLE, lambda attempt: attempt)
    assert isinstance(found, Found)
    assert found.box == box
    hard = decoded_mask(found.mask)[0].numpy() > 127
    assert (hard == inside).mean() > 0.99
    cv2.setRNGSeed(77)
    assert by_grabcut(image, box, WHOLE, lambda attempt: attempt) == found


def test_grabcut_looks_at_no_more_pixels_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    image, inside = disc()
    large, box = image.resize((640, 640), Image.Resampling.BICUBIC), Box(120, 80, 560, 520)
    frame = frame_of(640, 640, 64)
    shapes: list[tuple[int, ...]] = []
    grabcut = cv2.grabCut

    def seen(pixels: np.ndarray, *others: object) -> None:
        shapes.append(pixels.shape)
        grabcut(pixels, *others)

    monkeypatch.setattr(cv2, "grabCut", seen)
    found = by_grabcut(large, box, frame, lambda attempt: attempt)
    assert shapes == [(73, 73, 3)]
    assert isinstance(found, Found)
    assert found.box == frame.moved(box)
    expected = np.array(frame.applied(Image.fromarray(inside.astype(np.uint8) * 255).resize((640, 640)))) > 127
    assert ((decoded_mask(found.mask)[0].numpy() > 127) == expected).mean() > 0.97


def test_grabcut_is_tried_again_and_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    image, _ = disc()
    seeds: list[int] = []

    def finds_nothing(
        pixels: np.ndarray, labels: np.ndarray, rectangle: tuple[int, ...], *models: object
    ) -> None:  # but a corner of 9 % of the box
        labels[8:21, 12:25] = cv2.GC_PR_FGD

    monkeypatch.setattr(cv2, "grabCut", finds_nothing)
    found = by_grabcut(image, Box(12, 8, 56, 52), WHOLE, lambda attempt: seeds.append(attempt) or attempt)
    assert found == LeftOut("GrabCut finds less than a tenth of the box", "8.7%")
    assert seeds == list(range(11))


def test_a_box_of_a_few_pixels_is_left_out() -> None:
    found = by_grabcut(disc()[0], Box(3, 3, 6, 6), WHOLE, lambda attempt: attempt)
    assert found == LeftOut("too few pixels in or around the box", "9 in it")


# ---- salience


def test_salience_is_spread_from_its_least_to_its_most() -> None:
    saliency = torch.full((1, 1, 320, 320), 0.4)
    saliency[:, :, 100:200, 100:200] = 0.5
    found = by_saliency(saliency, WHOLE)
    assert isinstance(found, Found)
    assert found.box == Box(20, 20, 40, 40)
    assert decoded_mask(found.mask).float().mean() == pytest.approx(255 * (100 / 320) ** 2, rel=0.02)
    assert by_saliency(torch.full((1, 1, 320, 320), 0.5), WHOLE) == LeftOut("nothing is salient", "0.500 everywhere")


def test_a_black_image_can_be_shown_to_the_network() -> None:
    assert saliency_input(torch.zeros(3, 8, 8, dtype=torch.uint8)).isfinite().all()


def test_salience_of_the_sample_images_gives_the_masks_that_were_made_of_them() -> None:
    weights = SHARED / "weights/u2netp/u2netp_bnfolded_fp16src.pth"
    samples, mini = SHARED / "data/imagenet_samples", SHARED / "data/in9_mini"
    if not (weights.is_file() and samples.is_dir() and mini.is_dir()):
        pytest.skip("the sample images, their masks or U2-NetP's weights are not here")
    network = for_inference(load_u2net(weights, SMALL, sha256_digits=""))
    entries = [one for one in json.loads((mini / "index.json").read_text(encoding="utf-8")) if one["good"]][:60:20]
    for one in entries:
        (file,) = (samples / one["wnid"]).glob("*")
        image = read_upright(file.read_bytes(), str(file))
        assert isinstance(image, Image.Image)
        picture = to_tensor(frame_of(*image.size, 224).applied(image))
        with torch.no_grad():
            found = salience_mask(network(saliency_input(picture)), 224)
        with Image.open(mini / "mask" / one["file"]) as expected:
            given = np.array(expected.convert("L")).astype(int)
        assert np.abs(np.array(found) - given).mean() < 2.5
