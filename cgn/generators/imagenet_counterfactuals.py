"""Sampling counterfactuals of natural images: every mechanism with a class of its own."""

import torch

from cgn.composer import to_pixels
from cgn.config import ImagenetGenerateBudget, Precision
from cgn.contracts import Factors, Pixels
from cgn.generators.imagenet_cgn import ImagenetCgn, micro_batches
from cgn.models.biggan import NUM_CLASSES
from cgn.rng import stream


@torch.no_grad()
def imagenet_counterfactuals(
    cgn: ImagenetCgn,
    num_images: int,
    config: ImagenetGenerateBudget,
    *,
    precision: Precision,
    seed: int,
    shard_index: int,
) -> tuple[Pixels, Factors]:
    """One shard's images and the class of every mechanism, each drawn uniformly from the classes that are chosen for it.

    The truncation of the CGN is set to that of `config`. A function of its arguments alone: shards can be made in any order.
    """
    rng = stream(seed, "imagenet_counterfactuals", shard_index)
    chosen = (config.shape_classes, config.texture_classes, config.background_classes)
    labels = Factors(*(_drawn(classes, num_images, rng) for classes in chosen))
    cgn.truncation = config.truncation
    noise = cgn.draw_noise(num_images, rng, shared=config.shared_noise)
    device = next(cgn.parameters()).device
    cgn.eval()
    parts = []
    for some_noise, some_labels in micro_batches(noise, labels, config.micro_batch, device):
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            layers = cgn(some_noise, some_labels)
        parts.append(to_pixels(layers.composite).cpu())
    return torch.cat(parts), labels


def _drawn(classes: list[int], num: int, rng: torch.Generator) -> torch.Tensor:
    """So many class ids, int64."""
    known = torch.tensor(classes) if classes else torch.arange(NUM_CLASSES)
    return known[torch.randint(len(known), (num,), generator=rng)]
