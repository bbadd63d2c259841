"""Sheets of the ImageNet CGN: what its mechanisms make of one fixed noise, a column per class."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from cgn.composer import to_pixels
from cgn.contracts import SHEET_PADDING_PX, Factors, Pixels
from cgn.generators.captioned import to_image
from cgn.generators.imagenet_cgn import ImagenetLayers, PerMechanism
from cgn.generators.imagenet_training import ImagenetCgnTraining
from cgn.models.biggan import truncated_noise
from cgn.rng import stream

# ImageNet's numbers of the classes that are looked at.
SHEET_CLASSES = {
    "barn": 425,
    "speedboat": 814,
    "viaduct": 888,
    "cauliflower": 938,
    "bell pepper": 945,
    "strawberry": 949,
    "geyser": 974,
    "agaric": 992,
    "ring-tailed lemur": 383,
    "mushroom": 947,
}
# Of the classes whose counterfactuals the reproduction names as failures.
FAILURE_CLASSES = {
    "goldfinch": 11,
    "junco": 13,
    "American chameleon": 40,
    "cliff dwelling": 500,
    "cauliflower": 938,
    "agaric": 992,
}


def save_sheet(training: ImagenetCgnTraining, folder: Path) -> None:
    """Save a sheet of the weights as they are, named by the step: premask, mask, foreground, background and composite."""
    sheet(training).save(folder / f"step-{training.step:06d}.png")


@torch.no_grad()
def sheet(training: ImagenetCgnTraining) -> Image.Image:
    """The fixed classes side by side, with one noise for all of them and all mechanisms; the last row is the teacher's."""
    cgn = training.cgn
    device = next(cgn.parameters()).device
    labels = torch.tensor(list(SHEET_CLASSES.values()), device=device)
    rng = stream(0, "imagenet_sheet")
    noise = truncated_noise(1, cgn.truncation, rng, noise_dim=cgn.mechanism("shape").noise_dim).to(device)
    columns = []
    for label in labels.split(1):  # one at a time: a sheet must not need more memory than a training step
        layers = cgn(PerMechanism(noise, noise, noise), Factors(label, label, label))
        target = training.teacher(noise, training.teacher.embed(label), cgn.truncation)
        parts = [*layer_pixels(layers).values(), to_pixels(target)]
        columns.append(torch.cat([_padded(part) for part in parts], 2))
    pixels = torch.cat(columns, 3)[0].cpu()
    return to_image(pixels)


def layer_pixels(layers: ImagenetLayers) -> dict[str, Pixels]:
    """What there is to see of every layer and of the composite, by its name; masks are black to white."""
    images = {**layers._asdict(), "mask": layers.mask.expand(-1, 3, -1, -1) * 2 - 1}
    return {name: to_pixels(image) for name, image in images.items()}


def _padded(pixels: Tensor) -> Tensor:
    return torch.nn.functional.pad(pixels, (0, SHEET_PADDING_PX, 0, SHEET_PADDING_PX))
