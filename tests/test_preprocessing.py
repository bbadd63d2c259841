"""Pictures of every kind to pixels: as torchvision has it, the same every time, and errors that name the file."""

import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cgn import torchvision_ops  # noqa: F401  (before torchvision)
from cgn.data.preprocessing import as_pixels, decode_picture, evaluation_pixels, random_part, training_pixels
from cgn.errors import InputError
from cgn.rng import stream


def picture(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize("size", [(90, 70), (70, 90), (64, 64), (33, 301)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_evaluation_sees_what_torchvisions_preset_sees(size: tuple[int, int], interpolation: str) -> None:
    from torchvision.transforms import InterpolationMode  # noqa: PLC0415
    from torchvision.transforms._presets import ImageClassification  # noqa: PLC0415

    preset = ImageClassification(
        crop_size=56, resize_size=64, mean=(0, 0, 0), std=(1, 1, 1), interpolation=InterpolationMode(interpolation)
    )
    image = picture(*size)
    found = evaluation_pixels(encoded(image), 64, 56, interpolation=interpolation)
    assert found.dtype == torch.uint8
    assert torch.equal(found.float().div(255), preset(image))


def test_pictures_that_were_cut_before_are_taken_whole() -> None:
    image = picture(32, 32)
    assert torch.equal(evaluation_pixels(encoded(image), None, 32), as_pixels(image))
    assert evaluation_pixels(encoded(picture(40, 20)), None, 32).shape == (3, 32, 32)


@given(width=st.integers(1, 3000), height=st.integers(1, 3000), seed=st.integers(0, 10))
def test_a_random_part_lies_within_the_picture(width: int, height: int, seed: int) -> None:
    left, top, wide, high = random_part(width, height, stream(seed))
    assert 0 <= left <= left + wide <= width
    assert 0 <= top <= top + high <= height
    assert wide > 0
    assert high > 0


def test_random_parts_are_distributed_as_torchvisions() -> None:
    from torchvision.transforms import RandomResizedCrop  # noqa: PLC0415

    ours = torch.tensor([random_part(80, 60, stream(0, number)) for number in range(2000)]).float()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        image = Image.new("RGB", (80, 60))
        rows = [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(2000)]
    theirs = torch.tensor([(left, top, wide, high) for top, left, high, wide in rows]).float()
    assert torch.allclose(ours.mean(0), theirs.mean(0), atol=1.5)
    assert torch.allclose(ours.std(0), theirs.std(0), atol=1.5)


def test_a_picture_too_long_for_any_part_gives_its_middle_as_torchvision_does() -> None:
    assert random_part(1000, 10, stream(0)) == ((1000 - 13) // 2, 0, 13, 10)
    assert random_part(10, 1000, stream(0)) == (0, (1000 - 13) // 2, 10, 13)


def test_a_training_image_is_a_function_of_its_stream() -> None:
    image = picture(90, 70)
    views = [training_pixels(image, 32, stream(0, number)) for number in range(40)]
    assert torch.equal(views[3], training_pixels(image, 32, stream(0, 3)))
    assert len({bytes(view.numpy().tobytes()) for view in views}) == 40
    plain = Image.new("RGB", (64, 64))
    plain.paste((255, 0, 0), (0, 0, 32, 64))
    views = [training_pixels(plain, 32, stream(0, number)).float() for number in range(200)]
    mirrored = sum(bool(view[0, :, -8:].mean() > view[0, :, :8].mean()) for view in views)
    assert 60 < mirrored < 140  # parts of one colour alone count as not mirrored


# ---- all kinds of files


@pytest.mark.filterwarnings("ignore:Palette images")  # pytest sets the decoder's own filter aside
def test_grey_sixteen_bits_palettes_and_transparency_become_eight_bits_of_rgb() -> None:
    grey = Image.fromarray(np.full((4, 4), 200, dtype=np.uint8))
    deep = Image.fromarray(np.full((4, 4), 200 * 256 + 9, dtype=np.uint16))
    clear = Image.new("RGBA", (4, 4), (200, 200, 200, 0))
    pictures = [encoded(grey), encoded(deep), encoded(clear), encoded(clear.convert("P")), encoded(grey, "JPEG")]
    for content in pictures:
        found = decode_picture(content, "x")
        assert found.mode == "RGB"
        assert set(found.tobytes()) == {200}


def test_cmyk_becomes_rgb() -> None:
    found = decode_picture(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), "x").getpixel((4, 4))
    assert isinstance(found, tuple)
    assert math.dist(found, (255, 0, 0)) < 10


def test_a_rotated_photograph_is_turned_upright() -> None:
    image = picture(40, 20)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    found = decode_picture(encoded(image.transpose(Image.Transpose.ROTATE_90), exif=exif), "x")
    assert found.size == (40, 20)
    assert found.tobytes() == image.tobytes()


def test_a_file_that_is_cut_off_or_no_picture_is_named() -> None:
    whole = encoded(picture(64, 64), "JPEG")
    damaged_exif = b"\xff\xd8\xff\xe1\x00\x0aExif\x00\x00??" + whole[2:]
    assert decode_picture(damaged_exif, "x").size == (64, 64)
    for content in (whole[: len(whole) // 2], b"", b"<html>", whole[:20]):
        with pytest.raises(
            InputError,
            match=r"n01440764/a.JPEG: found (no|a damaged) picture.*, expected JPEG, PNG, .*; mend it or take it out",
        ):
            decode_picture(content, "n01440764/a.JPEG")


def test_a_picture_that_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgn.data.preprocessing._MAX_PIXELS", 100)
    with pytest.raises(InputError, match="x: found 20 x 20 pixels, expected at most 100"):
        decode_picture(encoded(picture(20, 20)), "x")
