"""Facts about where digits and textures come from: bundled, made here, from a folder, or downloaded."""

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

import pytest
import torch
from isolation import ROOT
from PIL import Image

from cgn.config import FetchConfig, load_params
from cgn.data import sources, texture_files
from cgn.data.textures import procedural_textures
from cgn.data.types import LabelledDigits, Textures
from cgn.data.wildlife_mnist import crop
from cgn.errors import InputError
from cgn.rng import stream
from stages import fetch

SHARED = ROOT.parent / "shared" / "data"
MNIST = SHARED / "mnist"
needs_mnist = pytest.mark.skipif(not MNIST.is_dir(), reason="needs the four MNIST files in ../shared/data/mnist")
needs_photographs = pytest.mark.skipif(
    not (SHARED / "textures").is_dir(), reason="needs the texture photographs in ../shared/data/textures"
)


def fetch_config(**changes: Any) -> FetchConfig:
    demo = load_params(ROOT / "params.yaml").scales["demo"].fetch
    return FetchConfig.model_validate({**demo.model_dump(), **changes})


@pytest.fixture
def texture_folder(tmp_path: Path) -> Path:
    for kind in ("object", "background"):
        (tmp_path / "textures" / kind).mkdir(parents=True)
        for label in range(10):
            image = Image.new("RGB", (40, 40), (label, 2 * label, 3 * label))
            image.save(tmp_path / "textures" / kind / f"{label}_plain.png")
    return tmp_path / "textures"


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
        (put_text, "3_text.jpg: found no JPEG or PNG image"),
        (truncate, "3_plain.png: found no JPEG or PNG image"),
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


# ---- the stage


def test_fetching_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        fetch.main(["--params", str(ROOT / "params.yaml"), "--scale", "demo", "--out", str(tmp_path / name)])
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 21
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in files)


def test_a_flipped_bit_in_the_fetched_digits_is_not_another_data_set(tmp_path: Path) -> None:
    digits = LabelledDigits(torch.randint(256, (20, 28, 28), dtype=torch.uint8), torch.arange(20) % 10)
    sources.write_digits(tmp_path, {"train": digits})
    path = tmp_path / sources.DIGITS_FILE
    assert torch.equal(sources.read_digits(tmp_path, "train").images, digits.images)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="its contents are not those that were written; run"):
        sources.read_digits(tmp_path, "train")
