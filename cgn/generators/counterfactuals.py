"""Sampling counterfactuals: every mechanism with a label drawn on its own."""

import torch

from cgn.composer import compose, to_pixels
from cgn.config import Precision
from cgn.contracts import Factors, Pixels
from cgn.generators.base import Generator, Noise
from cgn.mnist import NUM_CLASSES
from cgn.rng import stream

_BATCH = 500


@torch.inference_mode()
def counterfactuals(
    generator: Generator,
    num_images: int,
    *,
    cf_ratio: int,
    hard_masks: bool,
    precision: Precision,
    seed: int,
    shard_index: int,
) -> tuple[Pixels, Factors]:
    """One shard's images and the label of every mechanism, independent and uniform.

    A generator without mechanisms gets one label for all three, so its images are none but of kinds that exist.
    Runs of `cf_ratio` images share one shape (its label and noise) and differ in texture and background.
    A pure function of its arguments: shards can be made in any order, anywhere.
    """
    generator.eval()
    rng = stream(seed, "counterfactuals", shard_index)
    labels = torch.randint(0, NUM_CLASSES, (3, num_images), generator=rng)
    group = torch.arange(num_images) // cf_ratio * cf_ratio  # the first image of each run gives it its shape
    labels[0] = labels[0, group]
    if not generator.has_mechanisms:
        labels[1:] = labels[0]
    noise = generator.draw_noise(num_images, rng)
    noise = noise._replace(shape=noise.shape[group])
    parts = []
    for rows in torch.arange(num_images).split(_BATCH):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            layers = generator(Noise(*(part[rows] for part in noise)), Factors(*labels[:, rows]))
        mask = (layers.mask > 0.5).float() if hard_masks else layers.mask
        parts.append(to_pixels(compose(mask, layers.foreground, layers.background)))
    return torch.cat(parts), Factors(*labels)
