"""What classifiers of natural images learn from: encoded photographs, or objects put before other backgrounds as they are asked for."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from cgn.data.imagenet9 import Box, Cutout, mixed
from cgn.data.imagenet_classes import IN9, coarse_labels
from cgn.data.preprocessing import Square, as_pixels, decoded
from cgn.encoded import Samples
from cgn.errors import InputError
from cgn.rng import stream

Classes = Int[Tensor, "images 3"]  # of shape, texture and background; -1: none that is to be told
# A picture, and a stream for what is drawn of it, to a square of uint8.
Prepare = Callable[[Image.Image, torch.Generator], Square]


@runtime_checkable
class TrainingImages(Protocol):
    """Images to learn from. Whatever is drawn follows from the row and from how many times it has been seen before."""

    def __len__(self) -> int: ...

    def labels(self, row: int, passes: int) -> tuple[int, int, int]:
        """The classes of shape, texture and background."""
        ...

    def pixels(self, row: int, passes: int) -> Square:
        """The image. Raises: InputError where it cannot be read."""
        ...


class EncodedImages:
    """Images as they were encoded, prepared anew every time."""

    def __init__(self, samples: Samples, prepare: Prepare, *, seed: int, name: str) -> None:
        """`name` is the source's, which its random streams are called after."""
        self.samples, self.prepare, self.address = samples, prepare, (seed, "images", name)

    def __len__(self) -> int:
        return len(self.samples.keys)

    def labels(self, row: int, passes: int) -> tuple[int, int, int]:  # noqa: ARG002
        """The classes of shape, texture and background, the same every time."""
        shape, texture, background = self.samples.classes[row].tolist()
        return shape, texture, background

    def pixels(self, row: int, passes: int) -> Square:
        """The image. Raises: InputError where it cannot be read."""
        image = decoded(self.samples.images[row], self.samples.keys[row])
        return self.prepare(image, stream(*self.address, row, passes))


class SwappedImages:
    """Objects of images, cut out by their masks, before the backgrounds of other images, which are drawn anew every time.

    Shape and texture are those of the object's image; the background is of the other's class.
    """

    def __init__(
        self, objects: Samples, masks: Samples, backgrounds: Samples, prepare: Prepare, *, seed: int, name: str
    ) -> None:
        """All three of the same images in the same order, and of one size.

        Raises: InputError where they are not as many, or there are no two.
        """
        counts = [len(part.keys) for part in (objects, masks, backgrounds)]
        if len(set(counts)) > 1 or counts[0] < 2:
            raise InputError(
                f"swapped: found {counts[0]} objects, {counts[1]} masks and {counts[2]} backgrounds, expected as many of each, two at "
                "least; run `dvc repro build_in9`"
            )
        self.objects, self.masks, self.backgrounds = objects, masks, backgrounds
        self.prepare, self.address = prepare, (seed, "swapped", name)

    def __len__(self) -> int:
        return len(self.objects.keys)

    def labels(self, row: int, passes: int) -> tuple[int, int, int]:
        """The object's class twice, and the class of the image that the background is of."""
        label = int(self.objects.classes[row, 0])
        return label, label, int(self.backgrounds.classes[self.partner(row, passes), 2])

    def partner(self, row: int, passes: int) -> int:
        """The row of the image whose background it is, never its own."""
        rng = stream(*self.address, "partner", row, passes)
        return (row + 1 + int(torch.randint(len(self) - 1, (), generator=rng))) % len(self)

    def pixels(self, row: int, passes: int) -> Square:
        """The image. Raises: InputError where a picture cannot be read, or they are of different sizes."""
        other = self.partner(row, passes)
        places = ((self.objects, row), (self.masks, row), (self.backgrounds, other))
        image, mask, background = (decoded(part.images[place], part.keys[place]) for part, place in places)
        if not image.size == mask.size == background.size:
            raise InputError(
                f"{self.objects.keys[row]}: found an image of {image.size}, its mask of {mask.size} and a background of "
                f"{background.size} pixels, expected one size; run `dvc repro build_in9`"
            )
        cutout = Cutout(as_pixels(image), as_pixels(mask)[:1], Box(0, 0, *image.size))
        picture = Image.fromarray(np.ascontiguousarray(mixed(cutout, as_pixels(background)).permute(1, 2, 0).numpy()))
        return self.prepare(picture, stream(*self.address, row, passes))


def of_in9(samples: Samples, *, of: int | None, what: str) -> Samples:
    """The images of ImageNet-9's classes, with these for labels; others are left out: those whose column `of` is none of the nine,
    or where that is None those of which no column is.

    Raises: InputError where none is left.
    """
    known = torch.cat([coarse_labels(IN9), torch.tensor([-1])])  # -1 stays what it is
    classes = known[samples.classes]
    kept = (classes >= 0).any(1) if of is None else classes[:, of] >= 0
    rows = kept.nonzero().flatten().tolist()
    if not rows:
        raise InputError(
            f"{what}: found none of ImageNet-9's classes among {len(samples.keys)} images, expected some; add images of them, or set "
            "the method's classes to imagenet"
        )
    if len(rows) == len(samples.keys):
        return samples._replace(classes=classes)
    keys = [samples.keys[row] for row in rows]
    return Samples([samples.images[row] for row in rows], keys, classes[rows])
