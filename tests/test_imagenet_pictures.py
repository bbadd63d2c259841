"""Pictures of a CGN for natural images: mechanisms of 64 px with random weights, whose classes and masks are made to differ."""

import math
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from cgn import torchvision_ops  # noqa: F401  (must come before torchvision)
from cgn.composer import to_pixels
from cgn.config import ImagenetPictures
from cgn.contracts import SHEET_PADDING_PX, Factors
from cgn.generators.captioned import captioned_grid, captioned_strip
from cgn.generators.films import save_gif, save_mp4
from cgn.generators.imagenet_cgn import MECHANISMS, ImagenetCgn, PerMechanism
from cgn.generators.imagenet_paths import closed, linear, spherical
from cgn.generators.imagenet_pictures import Illustrator, class_name, with_moving
from cgn.generators.imagenet_sheets import FAILURE_CLASSES, SHEET_CLASSES
from cgn.models.biggan import biggan_config, random_biggan
from cgn.rng import stream

PX = 64
CLASSES = [425, 949, 974]
CONFIG: dict[str, Any] = {
    "micro_batch": 4,
    "truncation": 0.5,
    "layers": [CLASSES],
    "interpolations": {"pairs": [[425, 947]], "columns": 4, "noise_moves": True},
    "films": {"classes": [CLASSES], "stops": 3, "frames": 2, "frames_per_second": 5},
    "transformations": [[425, 949, 974, 814]],
    "failures": 2,
}


class BrightIsSalient(nn.Module):
    """Masks that are no plain grey, unlike those of an untrained U2-Net."""

    def forward(self, images: Tensor) -> Tensor:
        brightness = images.mean(1, keepdim=True)
        return torch.sigmoid(20 * (brightness - brightness.mean((2, 3), keepdim=True)))


@pytest.fixture(scope="module")
def cgn() -> ImagenetCgn:
    mechanisms: dict[str, nn.Module] = {}
    for seed, name in enumerate(MECHANISMS, start=1):
        mechanism = random_biggan(biggan_config(PX, channel_width=8), seed)
        mechanism.embeddings.weight.data.mul_(20)
        mechanisms[name] = mechanism
    return ImagenetCgn(mechanisms, BrightIsSalient(), truncation=1.0)


def illustrator(cgn: ImagenetCgn, **changes: object) -> Illustrator:
    return Illustrator(cgn, ImagenetPictures.model_validate({**CONFIG, **changes}), "float32", 0)


def drawn(cgn: ImagenetCgn, num: int, kind: str, *classes: int) -> Tensor:
    """The noise of a picture."""
    return cgn.draw_noise(num, stream(0, "imagenet_pictures", kind, *classes), shared=True).shape


@torch.no_grad()
def pixels(cgn: ImagenetCgn, noise: list[Tensor], classes: list[int]) -> Tensor:
    """The composite of one noise and one class per mechanism."""
    labels = Factors(*(torch.tensor([label]) for label in classes))
    return to_pixels(cgn(PerMechanism(*(part[None] for part in noise)), labels).composite)[0]


def tiles(sheet: Image.Image, rows: int, columns: int) -> Tensor:
    """The images of a captioned grid: (rows, columns, 3, PX, PX)."""
    step = PX + SHEET_PADDING_PX
    array = torch.from_numpy(np.asarray(sheet).copy()).permute(2, 0, 1)
    found = array[:, -rows * step :, -columns * step :].unflatten(1, (rows, step)).unflatten(3, (columns, step))
    return found[:, :, :PX, :, :PX].permute(1, 3, 0, 2, 4)


def assert_alike(found: Tensor, expected: Tensor) -> None:
    """To one level of 255: other batches round otherwise."""
    assert found.shape == expected.shape
    assert (found.int() - expected.int()).abs().max() <= 1


# ---- ways


def test_an_arc_has_equal_angles_keeps_the_radius_and_ends_where_it_should() -> None:
    start, end = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, 2.0, 0.0])
    points = spherical(start, end, torch.linspace(0, 1, 4))
    assert torch.equal(points[0], start)
    assert torch.equal(points[-1], end)
    angles = torch.atan2(points[:, 1], points[:, 0])
    torch.testing.assert_close(angles, torch.linspace(0, math.pi / 2, 4))
    torch.testing.assert_close(points.norm(dim=1), torch.full((4,), 2.0))


def test_an_arc_between_draws_of_one_direction_is_a_line() -> None:
    start = torch.tensor([1.0, 2.0])
    assert torch.equal(spherical(start, start, torch.linspace(0, 1, 3)), start.expand(3, 2))
    torch.testing.assert_close(spherical(start, 3 * start, torch.tensor([0.5]))[0], 2 * start)


@pytest.mark.parametrize("way", [linear, spherical])
def test_a_walk_passes_its_stops_and_closes(way: Any) -> None:
    stops = torch.randn(3, 8, generator=stream(0))
    walk = closed(stops, 5, way)
    assert walk.shape == (15, 8)
    assert torch.equal(walk[::5], stops)
    assert torch.equal(closed(stops.roll(-1, 0), 5, way), walk.roll(-5, 0))  # the last leg leads to the first stop
    assert torch.equal(walk[-4:], way(stops[2], stops[0], torch.arange(1, 5) / 5))


# ---- pictures


def test_a_layer_moves_with_its_own_mechanism_alone(cgn: ImagenetCgn) -> None:
    with torch.no_grad():
        noise = cgn.draw_noise(3, stream(0), shared=True)
        labels = torch.tensor([1, 2, 3])
        layers = cgn(noise, Factors(labels, labels, labels))
    for name, expected in (("shape", "mask"), ("texture", "foreground"), ("background", "background")):
        found = with_moving(layers, name)._asdict()
        moved = {layer for layer, part in found.items() if not torch.equal(part[0], part[1])}
        assert moved == {expected}
        assert all(torch.equal(found[layer], getattr(layers, layer)) for layer in moved)


@pytest.mark.parametrize("noise_moves", [True, False])
def test_an_interpolation_leads_from_one_class_to_the_other_in_one_factor_or_in_all(
    cgn: ImagenetCgn, noise_moves: bool
) -> None:
    chosen = {**CONFIG["interpolations"], "noise_moves": noise_moves}
    found = tiles(illustrator(cgn, interpolations=chosen).interpolation(425, 947), 4, 4)
    first, last = drawn(cgn, 2, "interpolation", 425, 947)
    last = last if noise_moves else first
    start = pixels(cgn, [first] * 3, [425] * 3)
    for row in found:
        assert_alike(row[0], start)
    assert_alike(found[3, -1], pixels(cgn, [last] * 3, [947] * 3))
    for place in range(3):  # one mechanism has the other class and noise, the others stay
        noise = [last if place == other else first for other in range(3)]
        classes = [947 if place == other else 425 for other in range(3)]
        assert_alike(found[place, -1], pixels(cgn, noise, classes))
        assert (found[place, -1].int() - start.int()).abs().max() > 10
    steps = (found[3, 1:].int() - found[3, :-1].int()).abs().flatten(1).amax(1)
    assert (steps > 0).all()


def test_a_sheet_is_the_same_however_many_images_go_at_a_time(cgn: ImagenetCgn) -> None:
    sheets = [tiles(illustrator(cgn, micro_batch=size).interpolation(425, 947), 4, 4) for size in (1, 8)]
    assert_alike(*sheets)


def test_in_a_walk_one_mechanism_gets_other_noise_and_the_others_stay(cgn: ImagenetCgn) -> None:
    walks = illustrator(cgn).walks(CLASSES)
    stops = drawn(cgn, 3, "walk", *CLASSES)
    assert tuple(walks) == MECHANISMS
    for place, frames in enumerate(walks.values()):
        assert frames.shape == (6, 3, PX, PX)
        for stop in range(3):
            noise = [stops[stop] if place == other else stops[0] for other in range(3)]
            assert_alike(frames[2 * stop], pixels(cgn, noise, CLASSES))
        assert (frames[2].int() - frames[0].int()).abs().max() > 10


def test_a_transformation_changes_texture_background_and_shape_in_turn_and_its_film_goes_back(cgn: ImagenetCgn) -> None:
    classes = [425, 949, 974, 814]
    strip, frames = illustrator(cgn).transformation(classes)
    (noise,) = drawn(cgn, 1, "transformation", *classes)
    steps = [[425, 425, 425], [425, 949, 425], [425, 949, 974], [814, 949, 974]]
    array = torch.from_numpy(np.asarray(strip).copy()).permute(2, 0, 1)
    for place, step in enumerate(steps):
        expected = pixels(cgn, [noise] * 3, step)
        assert_alike(frames[2 * place], expected)
        left = PX // 3 // 2 + place * (PX + PX // 3)
        assert_alike(array[:, SHEET_PADDING_PX : SHEET_PADDING_PX + PX, left : left + PX], expected)
    assert len(frames) == 8
    with torch.no_grad():
        middle = [(cgn.mechanism(name).embed(torch.tensor(pair))).mean(0) for name, pair in _way_back()]
        composite = cgn.of_vectors(PerMechanism(*[noise[None]] * 3), PerMechanism(*(part[None] for part in middle)))
    assert_alike(frames[-1], to_pixels(composite.composite)[0])


def _way_back() -> list[tuple[str, list[int]]]:
    """The classes that every mechanism is half way between in the film's last frame."""
    return list(zip(MECHANISMS, ([814, 425], [949, 425], [974, 425]), strict=True))


def test_layers_are_those_that_the_composite_is_made_of(cgn: ImagenetCgn) -> None:
    found = {name: np.asarray(image).astype(float) for name, image in illustrator(cgn).layers(CLASSES).items()}
    assert tuple(found) == ("premask", "mask", "foreground", "background", "composite")
    mask = found["mask"] / 255
    assert (mask == mask[..., :1]).all()
    composite = mask * found["foreground"] + (1 - mask) * found["background"]
    assert np.abs(composite - found["composite"]).max() < 2
    (noise,) = drawn(cgn, 1, "layers", *CLASSES)
    expected = pixels(cgn, [noise] * 3, CLASSES)
    assert_alike(torch.from_numpy(found["composite"]).permute(2, 0, 1), expected)


def test_failures_are_shown_class_by_class_with_the_same_draws(cgn: ImagenetCgn) -> None:
    sheets = illustrator(cgn).failures()
    draws = drawn(cgn, 2, "failures")
    for sheet, draw in zip(sheets, draws, strict=True):
        found = tiles(sheet, len(FAILURE_CLASSES), 5)
        for row, label in zip(found, FAILURE_CLASSES.values(), strict=True):
            assert_alike(row[-1], pixels(cgn, [draw] * 3, [label] * 3))


def test_noise_is_drawn_at_the_truncation_of_pictures(cgn: ImagenetCgn) -> None:
    for truncation in (0.1, 0.9):
        illustrator(cgn, truncation=truncation)
        assert cgn.truncation == truncation
        assert drawn(cgn, 100, "layers").abs().max() <= 2 * truncation


def test_classes_have_imagenets_numbers_and_names() -> None:
    from torchvision.models import VGG16_Weights  # noqa: PLC0415

    names = VGG16_Weights.IMAGENET1K_V1.meta["categories"]
    for name, number in (SHEET_CLASSES | FAILURE_CLASSES).items():
        assert name == names[number] or (name, names[number]) == ("ring-tailed lemur", "Madagascar cat")
        assert class_name(number) == name
    assert class_name(0) == "tench"


# ---- captions


def test_captions_break_rather_than_run_into_the_next_column() -> None:
    tile = torch.full((1, 3, PX, PX), 200, dtype=torch.uint8)

    def first_column_alone(caption: str) -> bool:
        """Whether the second column's head stays white, beside a caption of the first."""
        sheet = np.asarray(captioned_grid([("", tile.expand(2, -1, -1, -1))], [caption, ""]))
        head = sheet[: sheet.shape[0] - PX - SHEET_PADDING_PX, -PX - SHEET_PADDING_PX :]
        return bool((head == 255).all())

    assert first_column_alone("American Staffordshire terrier")
    assert first_column_alone("bicycle-built-for-two")
    assert not first_column_alone("n" * 40)  # so the test sees what runs over


def test_a_strip_has_an_arrow_between_images_and_none_before_the_first() -> None:
    tile = torch.full((3, 3, PX, PX), 200, dtype=torch.uint8)
    strip = np.asarray(captioned_strip(tile, ["a", "b", "c"]))
    middle = strip[SHEET_PADDING_PX + PX // 2]
    dark = (middle < 50).all(1)
    assert (np.diff(dark.astype(int)) == 1).sum() == 2
    assert not dark[: PX // 3 // 2 + PX].any()


# ---- films


@pytest.fixture
def film() -> Tensor:
    coarse = torch.rand(12, 3, 8, 8, generator=stream(0))
    return torch.nn.functional.interpolate(coarse, PX, mode="bilinear").mul(255).to(torch.uint8)


def test_films_have_all_frames_in_order_at_the_rate_that_was_asked(film: Tensor, tmp_path: Path) -> None:
    save_gif(tmp_path / "film.gif", film, frames_per_second=20)
    save_mp4(tmp_path / "film.mp4", film, frames_per_second=20)
    with Image.open(tmp_path / "film.gif") as gif:
        assert gif.n_frames == 12
        assert gif.info["duration"] == 50
        assert gif.info["loop"] == 0  # for ever
        frames = []
        for place in range(12):
            gif.seek(place)
            frames.append(torch.from_numpy(np.asarray(gif.convert("RGB")).copy()).permute(2, 0, 1))
        assert_near(torch.stack(frames), film)
    with av.open(str(tmp_path / "film.mp4")) as file:
        assert file.streams.video[0].average_rate == 20
        decoded = [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in file.decode(video=0)]
    assert_near(torch.stack(decoded).permute(0, 3, 1, 2), film)


def assert_near(found: Tensor, film: Tensor) -> None:
    """Closer to its own frame than to any other, and close."""
    distances = (found[:, None].float() - film[None].float()).abs().mean((2, 3, 4))
    assert torch.equal(distances.argmin(1), torch.arange(len(film)))
    assert distances.diagonal().max() < 10


@pytest.mark.parametrize(("save", "suffix"), [(save_gif, "gif"), (save_mp4, "mp4")])
def test_the_same_frames_give_the_same_bytes(save: Any, suffix: str, film: Tensor, tmp_path: Path) -> None:
    path = tmp_path / f"film.{suffix}"
    found = set()
    for _ in range(20):  # x264's assembly gives others every few times
        save(path, film, frames_per_second=20)
        found.add(path.read_bytes())
    assert len(found) == 1
