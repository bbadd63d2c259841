"""What a classifier of natural images says of whole sets, and of the Backgrounds Challenge's composites.

Images are decoded in threads while the network works, some batches ahead: neither waits, and memory does not grow with the set.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from PIL import Image
from torch import Tensor

from cgn.config import Precision
from cgn.contracts import Pixels
from cgn.data.imagenet9 import Mask, Picture, blended
from cgn.data.preprocessing import as_pixels, decoded, evaluation_pixels
from cgn.encoded import Encoded
from cgn.errors import InputError
from cgn.evaluation.imagenet_decisions import coarse_decisions
from cgn.evaluation.imagenet_predictions import as_stored, head_rows, predictor_logits, predictors_of
from cgn.rng import stream

_AHEAD = 2  # batches that are decoded before they are needed
_CACHED = 4096  # decoded backgrounds, 600 MB of 224 px: those of the published challenge all stay
_FROZEN = 0  # seed of draws that are the same for every classifier
_Item = TypeVar("_Item")
_Loaded = TypeVar("_Loaded")
_Columns = dict[str, Any]


@runtime_checkable
class Classifier(Protocol):
    """A network with heads, which normalises pixels itself: `cgn.models.ensemble.HeadedClassifier`."""

    @property
    def heads(self) -> tuple[str, ...]:
        """Their names."""
        ...

    @property
    def classes(self) -> str:
        """Imagenet or in9."""
        ...

    @property
    def image_px(self) -> int:
        """A side, of what it sees."""
        ...

    @property
    def resize_px(self) -> int:
        """Of photographs the shorter side, before the middle is cut out."""
        ...

    @property
    def interpolation(self) -> str:
        """How they are resized."""
        ...

    def __call__(self, pixels: Pixels) -> Mapping[str, Tensor]:
        """Logits by head: (batch, classes)."""
        ...


class EvaluationSet(NamedTuple):
    """Images that a classifier is shown, and what is known of them."""

    name: str
    images: Sequence[Encoded]
    keys: Sequence[str]
    known: Mapping[str, Sequence[Any]]  # columns of a prediction table
    photographs: bool  # of any size, of which the middle is shown; else made for classifiers, and shown whole


class ChallengeSet(NamedTuple):
    """Objects with their masks, and backgrounds that they are put before."""

    name: str
    foregrounds: EvaluationSet  # with in9_label
    mask_of: Callable[[int], Mask]  # by the number of the foreground
    backgrounds: EvaluationSet


class Inference(NamedTuple):
    """How a network is run."""

    precision: Precision
    batch_size: int
    device: torch.device
    threads: int  # that decode: speed, not the result


def predict_set(network: Classifier, images: EvaluationSet, how: Inference) -> Iterator[_Columns]:
    """Rows of a prediction table, a batch of images at a time.

    Raises: InputError, naming the image, where one cannot be decoded, and the set where logits are not finite.
    """
    resize_px = network.resize_px if images.photographs else None

    def load(place: int) -> Picture:
        return evaluation_pixels(
            _picture(images, place), resize_px, network.image_px, interpolation=network.interpolation
        )

    for some, pictures in _loaded(range(len(images.images)), load, how):
        logits = _logits(network, _stacked(pictures).to(how.device), how, images.name)
        known = {column: [values[place] for place in some] for column, values in images.known.items()}
        keys = [images.keys[place] for place in some]
        yield head_rows(images.name, keys, known, {head: logits[head] for head in network.heads})


def predict_challenge(
    network: Classifier, challenge: ChallengeSet, how: Inference, *, num_backgrounds: int | None
) -> Iterator[_Columns]:
    """Rows of a challenge table: every object before as many backgrounds, drawn once for all classifiers; None: before all.

    Source: Xiao et al. 2020, section 3.3, and their script challenge_eval.py.
    Raises: InputError, naming the image, where one cannot be decoded, or a mask or a background is of another size than the object's.
    """
    predictors = predictors_of(network.heads)
    foregrounds, backgrounds = challenge.foregrounds, challenge.backgrounds
    background_at = lru_cache(_CACHED)(lambda place: as_pixels(_picture(backgrounds, place)))
    foreground_at = lru_cache(how.threads)(
        lambda place: (as_pixels(_picture(foregrounds, place)), challenge.mask_of(place))
    )

    def load(pair: tuple[int, int]) -> tuple[Picture, Mask, Picture]:
        layers = (*foreground_at(pair[0]), background_at(pair[1]))
        if len({part.shape[1:] for part in layers}) > 1:
            sizes = ", ".join(f"{part.shape[2]} x {part.shape[1]}" for part in layers)
            raise InputError(
                f"{challenge.name}, {foregrounds.keys[pair[0]]} before {backgrounds.keys[pair[1]]}: found an object, its mask and a "
                f"background of {sizes} px, expected one size; build the set anew"
            )
        return layers

    pairs = _pairs(foregrounds.keys, len(backgrounds.images), num_backgrounds)
    for some, layers in _loaded(pairs, load, how):
        pixels = blended(*(_stacked(of_kind).to(how.device) for of_kind in zip(*layers, strict=True)))
        logits = _logits(network, _of_size(pixels, network), how, f"challenge of {challenge.name}")
        decisions = [coarse_decisions(predictor_logits(logits, name), network.classes) for name in predictors]
        rows = [(foreground, background, name) for foreground, background in some for name in predictors]
        yield {
            "set": [challenge.name] * len(rows),
            "foreground": [foregrounds.keys[place] for place, _, _ in rows],
            "background": [backgrounds.keys[place] for _, place, _ in rows],
            "in9_label": [foregrounds.known["in9_label"][place] for place, _, _ in rows],
            "predictor": [name for _, _, name in rows],
            "predicted": torch.stack(decisions, 1).flatten().tolist(),
        }


def _pairs(foregrounds: Sequence[str], num: int, drawn: int | None) -> Iterator[tuple[int, int]]:
    """Numbers of foregrounds and backgrounds, by foreground."""
    for place, key in enumerate(foregrounds):
        if drawn is None or drawn >= num:
            yield from ((place, background) for background in range(num))
        else:
            order = torch.randperm(num, generator=stream(_FROZEN, "challenge", key))
            yield from ((place, background) for background in order[:drawn].tolist())


def _loaded(
    items: Iterable[_Item], load: Callable[[_Item], _Loaded], how: Inference
) -> Iterator[tuple[list[_Item], list[_Loaded]]]:
    """Batches of items, loaded; an error comes up where the item's turn is."""
    source = iter(items)
    waiting: deque[tuple[list[_Item], list[Future[_Loaded]]]] = deque()
    pool = ThreadPoolExecutor(how.threads)

    def submit() -> None:
        if some := list(islice(source, how.batch_size)):
            waiting.append((some, [pool.submit(load, item) for item in some]))

    try:
        for _ in range(_AHEAD):
            submit()
        while waiting:
            some, futures = waiting.popleft()
            loaded = [future.result() for future in futures]
            submit()
            yield some, loaded
    finally:
        pool.shutdown(cancel_futures=True)


def _stacked(pictures: Sequence[Tensor]) -> Tensor:
    """A batch with channels innermost, as convolutions like them, and as pictures lie in memory."""
    return torch.stack([picture.permute(1, 2, 0) for picture in pictures]).permute(0, 3, 1, 2)


def _of_size(pixels: Pixels, network: Classifier) -> Tensor:
    """What the network sees of composites, which are made at their own size."""
    if pixels.shape[2:] == (network.image_px, network.image_px):
        return pixels
    images = [Image.fromarray(picture.permute(1, 2, 0).cpu().numpy()) for picture in pixels]
    resized = [
        evaluation_pixels(image, None, network.image_px, interpolation=network.interpolation) for image in images
    ]
    return _stacked(resized).to(pixels.device)


@torch.inference_mode()
def _logits(network: Classifier, pixels: Pixels, how: Inference, what: str) -> dict[str, Tensor]:
    """By head as they are stored, off the device."""
    with torch.autocast(how.device.type, torch.bfloat16, enabled=how.precision == "bfloat16"):
        logits = network(pixels)
    return {head: as_stored(part.float().cpu(), what) for head, part in logits.items()}


def _picture(images: EvaluationSet, place: int) -> Image.Image:
    return decoded(images.images[place], images.keys[place])
