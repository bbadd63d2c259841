"""Facts about digits, textures, factors and the images that are made of them."""

import contextlib
import gzip
import shutil
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cgn.config import ColoredConfig, DoubleColoredConfig, FetchConfig, WildlifeConfig, load_params
from cgn.contracts import Factors
from cgn.data import CUES, DATASETS, NO_TEXTURES, TEXTURED, draw_factors, make_split, sources, texture_files
from cgn.data.colored_mnist import PALETTE
from cgn.data.double_colored_mnist import BACKGROUND_PALETTE, OBJECT_PALETTE
from cgn.data.textures import procedural_textures
from cgn.data.types import LabelledDigits, Textures
from cgn.data.wildlife_mnist import crop
from cgn.rng import stream
from cgn.shards import read_split, splits_of
from stages import build_dataset, fetch

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
MNIST = SHARED / "mnist"
needs_mnist = pytest.mark.skipif(not MNIST.is_dir(), reason="needs the four MNIST files in ../shared/data/mnist")
needs_photographs = pytest.mark.skipif(
    not (SHARED / "textures").is_dir(), reason="needs the texture photographs in ../shared/data/textures"
)

COLORED = ColoredConfig(color_std=0.0, correlation=1.0)
DOUBLE_COLORED = DoubleColoredConfig(color_std=0.0, binarize_above=0.1, correlation=1.0)
WILDLIFE = WildlifeConfig(texture_px=150, crop_padding_px=3, binarize_above=0.1, correlation=1.0)


def fetch_config(**changes: Any) -> FetchConfig:
    demo = load_params(ROOT / "params.yaml").scales["demo"].fetch
    return FetchConfig.model_validate({**demo.model_dump(), **changes})


def all_classes() -> Factors:
    return Factors(torch.arange(10), torch.arange(10), torch.arange(10))


def full_digits(ink: int, count: int = 10) -> torch.Tensor:
    return torch.full((count, 28, 28), ink, dtype=torch.uint8)


@pytest.fixture(scope="module")
def bundled() -> dict[str, LabelledDigits]:
    return sources.bundled_digits(500)


@pytest.fixture(scope="module")
def textures() -> Textures:
    return procedural_textures()


@pytest.fixture
def texture_folder(tmp_path: Path) -> Path:
    for kind in ("object", "background"):
        (tmp_path / "textures" / kind).mkdir(parents=True)
        for label in range(10):
            image = Image.new("RGB", (40, 40), (label, 2 * label, 3 * label))
            image.save(tmp_path / "textures" / kind / f"{label}_plain.png")
    return tmp_path / "textures"


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
    shown = DATASETS["colored"](full_digits(255), all_classes(), COLORED, stream(0), NO_TEXTURES)
    assert torch.equal(shown, PALETTE.mul(255).round().byte()[:, :, None, None].expand(10, 3, 32, 32))
    assert DATASETS["colored"](full_digits(0), all_classes(), COLORED, stream(0), NO_TEXTURES).max() == 0


def test_half_the_ink_of_a_colored_digit_gives_half_the_colour() -> None:
    shown = DATASETS["colored"](full_digits(102), all_classes(), COLORED, stream(0), NO_TEXTURES)
    assert shown[4].unique().tolist() == [98]  # 245 * 102 / 255


def test_the_colours_of_colored_mnist_are_far_from_each_other_and_from_black() -> None:
    distances = torch.cdist(torch.cat([PALETTE, torch.zeros(1, 3)]), torch.cat([PALETTE, torch.zeros(1, 3)]))
    assert distances[~torch.eye(11, dtype=torch.bool)].min() > 0.4


def test_colored_noise_is_per_image_and_channel_with_the_configured_deviation() -> None:
    factors = Factors(*(torch.full((4000,), 9) for _ in range(3)))  # grey: far from the clipping at both ends
    config = ColoredConfig(color_std=0.05, correlation=1.0)
    shown = DATASETS["colored"](full_digits(255, 4000), factors, config, stream(0, "noise"), NO_TEXTURES)
    assert torch.equal(shown.amax((2, 3)), shown.amin((2, 3)))
    assert torch.allclose(shown[:, :, 0, 0].double().div(255).std(0), torch.full((3,), 0.05).double(), atol=0.003)


def test_colored_digits_are_enlarged_like_an_image_library_does() -> None:
    digit = torch.randint(256, (1, 28, 28), generator=stream(0), dtype=torch.uint8)
    white = Factors(*(torch.tensor([4]) for _ in range(3)))
    shown = DATASETS["colored"](digit, white, COLORED, stream(0), NO_TEXTURES)[0, 0].numpy()
    expected = np.array(Image.fromarray(digit[0].numpy()).resize((32, 32), Image.Resampling.NEAREST)).astype(float)
    assert np.abs(shown - expected * 245 / 255).max() <= 0.501


def test_double_colored_shows_one_colour_where_there_is_ink_and_another_where_not() -> None:
    ink = DATASETS["double_colored"](full_digits(26), all_classes(), DOUBLE_COLORED, stream(0), NO_TEXTURES)
    none = DATASETS["double_colored"](full_digits(25), all_classes(), DOUBLE_COLORED, stream(0), NO_TEXTURES)
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
    shown = DATASETS["wildlife"](digits, factors, WILDLIFE, stream(0), textures)
    assert torch.equal(shown[:, 0, 31, 31].long(), factors.texture)
    assert torch.equal(shown[:, 0, 0, 0].long(), 10 + factors.background)


def test_a_crop_is_the_square_at_its_corner() -> None:
    canvases = torch.randint(256, (10, 3, 60, 60), generator=stream(0), dtype=torch.uint8)
    classes, corners = torch.tensor([3, 7]), torch.tensor([[0, 28], [11, 5]])
    shown = crop(canvases, classes, corners)
    assert torch.equal(shown[0], canvases[3, :, 0:32, 28:60])
    assert torch.equal(shown[1], canvases[7, :, 11:43, 5:37])


def test_wildlife_without_textures_is_refused() -> None:
    with pytest.raises(ValueError, match="found 0 textures of one kind, expected 10"):
        DATASETS["wildlife"](full_digits(0), all_classes(), WILDLIFE, stream(0), NO_TEXTURES)


@pytest.mark.parametrize("dataset", sorted(DATASETS))
def test_every_data_set_depends_on_its_stream_alone(dataset: str, textures: Textures) -> None:
    params = load_params(ROOT / "params.yaml")
    digits = LabelledDigits(full_digits(255), torch.arange(10))
    config = getattr(params.datasets, dataset)
    used = textures if dataset in TEXTURED else NO_TEXTURES

    def images(name: str) -> torch.Tensor:
        rng = stream(0, name)
        return make_split(dataset, digits, config=config, correlation=1.0, rng=rng, textures=used).pixels

    assert torch.equal(images("a"), images("a"))
    assert not torch.equal(images("a"), images("b"))


def test_every_data_set_has_cues_and_a_section_in_params() -> None:
    params = load_params(ROOT / "params.yaml")
    assert set(DATASETS) == set(CUES) == set(type(params.datasets).model_fields)


def test_an_unknown_data_set_is_refused() -> None:
    digits = LabelledDigits(full_digits(0), torch.arange(10))
    with pytest.raises(ValueError, match="found 'cifar', allowed: colored"):
        make_split("cifar", digits, config=COLORED, correlation=1.0, rng=stream(0), textures=NO_TEXTURES)


# ---- textures


def test_a_crop_of_a_procedural_texture_tells_its_class(textures: Textures) -> None:
    corners = torch.randint(119, (400, 2), generator=stream(0, "corners"))
    classes = torch.arange(400) % 10
    for kind in textures:
        small = torch.stack(kind)[:, :, ::2, ::2].contiguous()
        crops = crop(small, classes, corners).double().flatten(2)
        features = torch.cat([crops.mean(2), crops.std(2)], dim=1)
        centres = torch.stack([features[:200][classes[:200] == label].mean(0) for label in range(10)])
        nearest = torch.cdist(features[200:], centres).argmin(1)
        assert (nearest == classes[200:]).double().mean() > 0.95


def test_procedural_textures_follow_from_the_seed(textures: Textures) -> None:
    assert all(torch.equal(a, b) for a, b in zip(textures.object, procedural_textures(0).object, strict=True))
    assert not torch.equal(textures.object[0], procedural_textures(1).object[0])
    assert {tuple(texture.shape) for kind in textures for texture in kind} == {(3, 300, 300)}


def test_textures_survive_being_written_and_read(textures: Textures, tmp_path: Path) -> None:
    texture_files.write_textures(tmp_path / "textures", textures)
    read = texture_files.read_textures(tmp_path / "textures")
    for written, found in zip(textures, read, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(written, found, strict=True))


def test_a_texture_folder_is_read_by_class(texture_folder: Path) -> None:
    (texture_folder / "object" / "README.txt").write_text("no texture")
    read = texture_files.fetch_textures(fetch_config(textures="path", textures_path=str(texture_folder)))
    assert [texture[:, 0, 0].tolist() for texture in read.object] == [[n, 2 * n, 3 * n] for n in range(10)]


def test_a_grey_or_palette_texture_becomes_rgb(texture_folder: Path) -> None:
    Image.new("L", (40, 40), 7).save(texture_folder / "object" / "0_plain.png")
    Image.new("RGB", (40, 40), (9, 9, 9)).quantize(4).save(texture_folder / "object" / "1_plain.png")
    read = texture_files.read_textures(texture_folder)
    assert [read.object[label][:, 3, 3].tolist() for label in (0, 1)] == [[7, 7, 7], [9, 9, 9]]


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder / "background")


def remove_class(folder: Path) -> None:
    (folder / "object" / "3_plain.png").unlink()


def put_text(folder: Path) -> None:
    (folder / "object" / "3_plain.png").unlink()
    (folder / "object" / "3_text.jpg").write_text("this is no picture")


def truncate(folder: Path) -> None:
    path = folder / "object" / "3_plain.png"
    path.write_bytes(path.read_bytes()[:-30])


def add_second(folder: Path) -> None:
    Image.new("RGB", (40, 40)).save(folder / "object" / "3_other.jpg")


def add_nameless(folder: Path) -> None:
    Image.new("RGB", (40, 40)).save(folder / "object" / "zebra.jpg")


def make_huge(folder: Path) -> None:
    Image.new("1", (20_000, 40)).save(folder / "object" / "3_plain.png")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (remove_folder, "background: found no folder"),
        (remove_class, "object: found no texture of class 3"),
        (put_text, "3_text.jpg: found no readable picture"),
        (truncate, "3_plain.png: found no readable picture"),
        (add_second, "found 3_other.jpg and 3_plain.png"),
        (add_nameless, "zebra.jpg: found a name without a class"),
        (make_huge, "3_plain.png: found 20000 x 40 pixels"),
    ],
)
def test_a_texture_folder_that_cannot_be_used_is_refused(texture_folder: Path, spoil: Any, complaint: str) -> None:
    spoil(texture_folder)
    with pytest.raises(ValueError, match=complaint):
        texture_files.read_textures(texture_folder)


@needs_photographs
def test_the_archive_gives_the_photographs_of_the_texture_folder(tmp_path: Path) -> None:
    photographs = SHARED / "textures"
    with tarfile.open(tmp_path / "dtd.tar.gz", "w:gz") as tar:
        for path in sorted(photographs.glob("*/*.jpg")):
            name = path.name[2:]
            tar.add(path, f"dtd/images/{name.partition('_')[0]}/{name}")
    unpacked, read = texture_files.unpack_textures(tmp_path / "dtd.tar.gz"), texture_files.read_textures(photographs)
    for found, expected in zip(unpacked, read, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_an_archive_without_the_photographs_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "dtd.tar.gz", "w:gz"):
        pass
    with pytest.raises(ValueError, match=r"lacks dtd/images/striped/striped_0001.jpg"):
        texture_files.unpack_textures(tmp_path / "dtd.tar.gz")


# ---- digits


def test_no_bundled_digit_is_in_two_splits(bundled: dict[str, LabelledDigits]) -> None:
    seen = {split: {image.numpy().tobytes() for image in digits.images} for split, digits in bundled.items()}
    assert not seen["train"] & seen["test"]
    assert not seen["val"] & seen["test"]
    assert not seen["train"] & seen["val"]


def test_bundled_splits_hold_equally_many_digits_of_every_class(bundled: dict[str, LabelledDigits]) -> None:
    counts = {split: digits.labels.bincount().tolist() for split, digits in bundled.items()}
    assert counts == {"train": [350] * 10, "val": [50] * 10, "test": [100] * 10}


@pytest.mark.parametrize("num_validation", [7, 4000])
def test_a_validation_size_that_bundled_digits_cannot_give_is_refused(num_validation: int) -> None:
    with pytest.raises(ValueError, match=f"num_validation: found {num_validation}"):
        sources.bundled_digits(num_validation)


@needs_mnist
def test_zipped_and_unzipped_files_give_the_same_bytes_and_every_digit_once(tmp_path: Path) -> None:
    zipped = sources.fetch_digits(fetch_config(digits="path", digits_path=str(MNIST), num_validation=2000))
    plain = tmp_path / "plain"
    plain.mkdir()
    for name in sources.IDX_MD5:
        (plain / name).write_bytes(gzip.decompress((MNIST / f"{name}.gz").read_bytes()))
    sizes = {split: len(digits.labels) for split, digits in zipped.items()}
    assert sizes == {"train": 48_000, "val": 2_000, "test": 10_000, "paper_test": 10_000}
    files = []
    for name, splits in (("a", zipped), ("b", sources.idx_digits(plain, 2000))):
        (tmp_path / name).mkdir()
        sources.write_digits(tmp_path / name, splits)
        files.append((tmp_path / name / sources.DIGITS_FILE).read_bytes())
    assert files[0] == files[1]
    assert sources.read_digits(tmp_path / "a", "train").labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert sources.read_digits(tmp_path / "a", "test").labels[:5].tolist() == [7, 2, 1, 0, 4]


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a web server on this machine that serves `folder`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the name that the base class gives it)
        pass


@needs_mnist
def test_a_mirror_gives_the_same_files_and_a_dead_one_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "downloaded"
    with serving(MNIST) as address:
        monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", [f"{address}/none/", f"{address}/"])
        sources.download_idx(target)
    assert all((target / f"{n}.gz").read_bytes() == (MNIST / f"{n}.gz").read_bytes() for n in sources.IDX_MD5)


def test_a_download_that_fails_everywhere_is_an_io_fault_that_names_the_mirrors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", [f"{(tmp_path / 'none').as_uri()}/"])
    with pytest.raises(OSError, match=r"train-images-idx3-ubyte.gz could not be downloaded .*none"):
        sources.download_idx(tmp_path)


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_a_damaged_digit_file_is_named_with_both_checksums(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"train-images-idx3-ubyte{suffix}").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=rf"ubyte{suffix}: found MD5 [0-9a-f]{{32}}, expected [0-9a-f]{{32}}"):
        sources.idx_digits(tmp_path, 500)


def test_missing_digit_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"found no train-images-idx3-ubyte.gz"):
        sources.idx_digits(tmp_path, 500)
    with pytest.raises(ValueError, match="nowhere: found no folder"):
        sources.idx_digits(tmp_path / "nowhere", 500)


def test_a_digit_file_that_is_missing_broken_or_incomplete_is_refused(
    tmp_path: Path, bundled: dict[str, LabelledDigits]
) -> None:
    with pytest.raises(ValueError, match="found no such file"):
        sources.read_digits(tmp_path, "train")
    sources.write_digits(tmp_path, bundled)
    with pytest.raises(ValueError, match="expected 'paper_test_images'"):
        sources.read_digits(tmp_path, "paper_test")
    path = tmp_path / sources.DIGITS_FILE
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot be read"):
        sources.read_digits(tmp_path, "train")


# ---- stages


def test_fetching_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        fetch.main(["--params", str(ROOT / "params.yaml"), "--scale", "demo", "--out", str(tmp_path / name)])
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 21
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in files)


def test_the_built_splits_are_the_digits_with_the_bias_that_each_split_has(
    tmp_path: Path, bundled: dict[str, LabelledDigits]
) -> None:
    small = {split: LabelledDigits(digits.images[:200], digits.labels[:200]) for split, digits in bundled.items()}
    sources.write_digits(tmp_path, small)
    options = ["--params", str(ROOT / "params.yaml"), "--scale", "demo", "--dataset", "double_colored"]
    build_dataset.main([*options, "--raw", str(tmp_path), "--out", str(tmp_path / "real")])
    assert set(splits_of(tmp_path / "real")) == {"train", "val", "unbiased", "test"}
    for split, biased in (("train", True), ("val", True), ("unbiased", False), ("test", False)):
        batch = read_split(tmp_path / "real", split)
        assert torch.equal(batch.labels, small["train" if split == "unbiased" else split].labels)
        assert torch.equal(batch.factors.texture, batch.labels) == biased
        assert torch.equal(batch.factors.background, batch.labels) == biased


def test_wildlife_cannot_be_built_without_textures(tmp_path: Path, bundled: dict[str, LabelledDigits]) -> None:
    sources.write_digits(tmp_path, bundled)
    options = ["--params", str(ROOT / "params.yaml"), "--scale", "demo", "--dataset", "wildlife"]
    with pytest.raises(ValueError, match="object: found no folder"):
        build_dataset.main([*options, "--raw", str(tmp_path), "--out", str(tmp_path / "real")])
