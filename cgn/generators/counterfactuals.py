"""Sampling counterfactuals: every mechanism with a label of its own."""

from typing import NamedTuple

import torch
from torch import Tensor

from cgn.composer import compose, to_images, to_pixels, worn
from cgn.config import Precision
from cgn.contracts import Factors, Labels, Pixels
from cgn.generators.base import Generator, Noise
from cgn.generators.colours import PlainColours, painted
from cgn.mnist import NUM_CLASSES
from cgn.rng import stream

_BATCH = 500


class Originals(NamedTuple):
    """Training images whose shapes counterfactuals keep: what would this digit look like on that background?"""

    pixels: Pixels
    labels: Labels


def num_shapes(num_images: int, cf_ratio: int) -> int:
    """How many shapes that many counterfactuals have, `cf_ratio` of them sharing one."""
    return -(-num_images // cf_ratio)


def draw_originals(num_originals: int, num_images: int, *, seed: int) -> Tensor:
    """Rows of the training images to start from, int64 (num_images,): in random order, each once before any comes again."""
    epochs = range(-(-num_images // num_originals))
    orders = [torch.randperm(num_originals, generator=stream(seed, "originals", epoch)) for epoch in epochs]
    return torch.cat(orders)[:num_images]


@torch.inference_mode()
def counterfactuals(
    generator: Generator,
    num_images: int,
    *,
    originals: Originals | None,
    colours: PlainColours | None,
    cf_ratio: int,
    hard_masks: bool,
    precision: Precision,
    seed: int,
    shard_index: int,
) -> tuple[Pixels, Factors]:
    """One shard's images and the label of every mechanism.

    Labels of textures and backgrounds are independent and uniform. Shapes are those of `originals`, in order, one for
    every run of `cf_ratio` images; without originals their labels are uniform too and the generator draws them. Layers that
    `colours` knows as plain have one of its colours each, at random; without any the generator draws them all.
    A generator without mechanisms gets one label for all three, so its images are none but of kinds that exist.
    A pure function of its arguments: shards can be made in any order, anywhere.

    Raises: ValueError where there is not one original for every shape.
    """
    generator.eval()
    rng = stream(seed, "counterfactuals", shard_index)
    labels = torch.randint(0, NUM_CLASSES, (3, num_images), generator=rng)
    group = torch.arange(num_images) // cf_ratio
    first = group * cf_ratio  # the image of each run whose shape the others share
    if originals is None:
        labels[0] = labels[0, first]
    elif len(originals.labels) == num_shapes(num_images, cf_ratio):
        labels[0] = originals.labels[group]
    else:
        raise ValueError(f"found {len(originals.labels)} originals, expected {num_shapes(num_images, cf_ratio)}")
    if not generator.has_mechanisms:
        labels[1:] = labels[0]
    noise = generator.draw_noise(num_images, rng)
    noise = noise._replace(shape=noise.shape[first])
    which = torch.rand(2, num_images, generator=rng)
    parts = []
    for rows in torch.arange(num_images).split(_BATCH):
        some, factors = Noise(*(part[rows] for part in noise)), Factors(*labels[:, rows])
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            if originals is None:
                layers = generator(some, factors)
            else:
                seen, whose = group[rows].unique(return_inverse=True)
                masks = generator.infer_masks(to_images(originals.pixels[seen]), originals.labels[seen])
                layers = generator.dress(masks[whose], some, factors)
        if colours is not None:
            layers = layers._replace(
                foreground=painted(layers.foreground, factors.texture, colours.foreground, which[0, rows]),
                background=painted(layers.background, factors.background, colours.background, which[1, rows]),
            )
        mask = worn(layers.mask, hard=hard_masks)
        parts.append(to_pixels(compose(mask, layers.foreground, layers.background)))
    return torch.cat(parts), Factors(*labels)
