"""That the ImageNet CGN's loop learns, on networks small enough to be trained here: a GAN of Wildlife MNIST as teacher.

The loop is `cgn.generators.imagenet_training` itself; three things stand in for published networks. The teacher is the GAN of the
MNIST experiments, trained on biased images and their one label. The saliency network is a U2-Net of few channels, trained on
strokes and discs that are drawn here: it never saw a digit or a true mask. The perceptual network is an untrained VGG16.
Per seed all of them are trained anew, then the CGN once with the whole loss and once with each of three
losses off, as in the paper's Table 1.
Prints what the masks are like at the end, and at the beginning, where every mechanism is the teacher.
Usage: python -m benchmarks.small_teacher [--seeds 0 1 2] [--pictures FOLDER]
"""

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.common import prepare, report
from cgn.composer import compose, to_images, to_pixels
from cgn.config import GanConfig, ImagenetCgnConfig, ImagenetTrainBudget, Params, changed
from cgn.contracts import Factors, Images, Labels, Masks
from cgn.data import make_split
from cgn.data.sources import bundled_digits
from cgn.data.textures import procedural_textures
from cgn.data.wildlife_mnist import crop
from cgn.errors import InputError
from cgn.evaluation.imagenet_quality import LayerQuality, layer_quality
from cgn.generators import GENERATORS, Run
from cgn.generators.captioned import to_image
from cgn.generators.imagenet_cgn import MECHANISMS, ImagenetCgn, PerMechanism
from cgn.generators.imagenet_training import ImagenetCgnTraining, ImagenetRun
from cgn.mnist import IMAGE_PX, NUM_CLASSES
from cgn.models.mechanisms import WholeImage, clamped
from cgn.models.u2net import U2Net, U2NetSize, for_inference
from cgn.models.vgg import random_vgg_features
from cgn.rng import stream
from cgn.training import seeded

log = logging.getLogger(__name__)

RECIPE = ImagenetCgnConfig.model_validate(
    {
        "truncation": 1.0,
        "effective_batch": 32,
        "shape_lr": 1e-3,
        "texture_lr": 1e-3,
        "background_lr": 1e-3,
        "ema_decay": 0.0,
        "lambda_l1": 100.0,
        "content_weights": [0.0] * 4,
        "style_weights": [200_000.0, 0.0, 0.0, 0.0],
        "lambda_binary": 30.0,
        "lambda_size": 500.0,
        "size_range": [0.1, 0.9],
        "patches_from": "composite",
        "texture_weights": [100_000.0, 0.0, 0.0, 0.0],
        "patches": {"working_px": 32, "patch_px": 5, "num_candidates": 20, "grid": 6},
        "lambda_background": 300.0,
        "refiner": None,
        "collapse_stop": None,
    }
)
NUM_STEPS = 300
NUM_SALIENCY_STEPS = 800
CHANGES = ("unchanged", "no_texture", "no_background", "no_reconstruction")
SALIENCY = U2NetSize(down=((8, 16),) * 6, up=((8, 16),) * 5)
_QUALITY_IMAGES = 500


class SmallGenerator(nn.Module):
    """The MNIST GAN's network as a `ConditionalGenerator`: (batch, 16) noise and (batch, 10) class vectors to images of 32 px.

    Its batch normalisation keeps the statistics of the trained GAN, as BigGAN's mechanisms do.
    """

    num_classes = NUM_CLASSES
    recompute = False

    def __init__(self, network: WholeImage, noise_dim: int) -> None:
        super().__init__()
        self.network, self.noise_dim = network, noise_dim

    def train(self, mode: bool = True) -> "SmallGenerator":
        """As of any module, but normalisation stays as it is used."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, noise: Tensor, classes: Tensor, truncation: float) -> Images:  # noqa: ARG002
        """Images; the truncation is in the noise already."""
        return clamped(self.network.net(torch.cat([noise, classes], 1)).float())

    def embed(self, labels: Labels) -> Tensor:
        """The vectors of classes."""
        vectors: Tensor = self.network.embed(labels)
        return vectors

    def refresh(self, *, iterate: bool = False) -> None:
        """Nothing is prepared: these weights are used as they are."""

    def pull_back(self) -> None:
        """Gradients are where they belong already."""


def train_teacher(params: Params, seed: int) -> dict[str, Tensor]:
    """The weights of a GAN of biased Wildlife MNIST, at the demo's budget."""
    config = _gan(params)
    digits = bundled_digits(500)["train"]
    images = make_split(
        "wildlife",
        digits,
        config=params.datasets.wildlife,
        correlation=1.0,
        rng=stream(seed, "small_teacher", "images"),
        textures=procedural_textures(),
    )
    run = Run("wildlife", params.scales["demo"].generator.num_images, params.compute.precision, seed, attempt=0)
    training = GENERATORS[config.recipe].training(config, images.pixels, images.labels, run)
    for _ in training.records():
        pass
    return {name.removeprefix("image."): tensor for name, tensor in training.weights().items()}


def _gan(params: Params) -> GanConfig:
    config = params.generator["gan"]
    if not isinstance(config, GanConfig):
        raise InputError(f"generator.gan: found recipe {config.recipe!r}, expected 'gan'")
    return config


def _generator(params: Params, weights: dict[str, Tensor]) -> SmallGenerator:
    config = _gan(params)
    network = WholeImage(latent=config.latent, width=config.width)
    network.load_state_dict(weights)
    return SmallGenerator(network, config.latent)


# ---- a saliency network that saw no digit


class SalientObjects(NamedTuple):
    """Images in [-1, 1] and where their objects are."""

    images: Images
    masks: Masks


def drawn_objects(num: int, rng: torch.Generator) -> Masks:
    """Strokes along two joined curves, from hairlines to blobs, anywhere in 32 px; edges are soft."""
    steps = torch.arange(IMAGE_PX) + 0.5
    place = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).view(1, -1, 2)
    points = IMAGE_PX * (0.15 + 0.7 * torch.rand(num, 2, 3, 2, generator=rng))  # of two quadratic Bezier curves
    points[:, 1, 0] = points[:, 0, 2]  # the second goes on where the first ends
    t = torch.linspace(0, 1, 12)
    weights = torch.stack([(1 - t) ** 2, 2 * t * (1 - t), t**2], -1)
    chain = torch.einsum("pk,nckd->ncpd", weights, points).flatten(1, 2)
    radius = 1 + 2 * torch.rand(num, 1, generator=rng)
    distance = torch.cdist(place.expand(num, -1, -1), chain).amin(2)
    return torch.sigmoid(3 * (radius - distance)).view(num, 1, IMAGE_PX, IMAGE_PX)


def salient_objects(num: int, rng: torch.Generator, canvases: Tensor) -> SalientObjects:
    """Drawn objects of one texture before another; `canvases` are textures, uint8 (number, 3, side, side)."""
    masks = drawn_objects(num, rng)
    first = torch.randint(len(canvases), (num,), generator=rng)
    second = (first + torch.randint(1, len(canvases), (num,), generator=rng)) % len(canvases)
    corners = torch.randint(canvases.shape[-1] - IMAGE_PX + 1, (2, num, 2), generator=rng)
    layers = [
        to_images(crop(canvases, chosen, corner)) for chosen, corner in zip((first, second), corners, strict=True)
    ]
    return SalientObjects(compose(masks, *layers), masks)


def train_saliency(seed: int, *, num_steps: int) -> U2Net:
    """A small U2-Net taught by drawn objects of procedural textures, which are not those of the data set."""
    rng = stream(seed, "small_teacher", "saliency")
    textures = [texture for part in range(1, 6) for kind in procedural_textures(part) for texture in kind]
    canvases = F.interpolate(torch.stack(textures).float(), size=(150, 150), mode="nearest-exact").to(torch.uint8)
    network = seeded(rng.initial_seed(), lambda: U2Net(SALIENCY))
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, num_steps)
    for step in range(num_steps):
        objects = salient_objects(32, rng, canvases)
        loss = F.binary_cross_entropy(network(objects.images), objects.masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            log.info("saliency: step %d, loss %.3f", step + 1, loss.item())
    return for_inference(network)


# ---- the loop


class Networks(NamedTuple):
    """What a run starts from."""

    teacher: dict[str, Tensor]
    saliency: U2Net


def train_networks(params: Params, seed: int) -> Networks:
    """Teacher and saliency network of a seed."""
    return Networks(train_teacher(params, seed), train_saliency(seed, num_steps=NUM_SALIENCY_STEPS))


def new_training(
    params: Params, networks: Networks, seed: int, *, change: str, num_steps: int = NUM_STEPS
) -> ImagenetCgnTraining:
    """A run whose mechanisms begin as the teacher, with one of the losses off as `imagenet_ablation` says."""
    mechanisms: dict[str, nn.Module] = {name: _generator(params, networks.teacher) for name in MECHANISMS}
    config = changed(RECIPE, params.imagenet_ablation[change])
    budget = ImagenetTrainBudget(
        num_steps=num_steps, effective_batch=None, micro_batch=32, recompute=False, compile=False, num_processes=1
    )
    return ImagenetCgnTraining(
        config,
        ImagenetCgn(mechanisms, networks.saliency, truncation=config.truncation),
        _generator(params, networks.teacher),
        random_vgg_features(0),
        ImagenetRun(budget, params.compute.precision, seed),
    )


@torch.no_grad()
def quality(training: ImagenetCgnTraining) -> LayerQuality:
    """Of training inputs that training never drew."""
    cgn = training.cgn
    noise, labels = cgn.draw_training_inputs(_QUALITY_IMAGES, stream(0, "small_teacher", "quality"))
    layers = cgn.eval()(noise, labels)
    return layer_quality(
        layers.mask,
        layers.composite,
        training.teacher(noise.shape, training.teacher.embed(labels.shape), cgn.truncation),
        composite_saliency=cgn.saliency(layers.composite),
        background_saliency=cgn.saliency(layers.background),
    )


def run_seed(params: Params, seed: int, pictures: Path | None = None) -> dict[str, LayerQuality]:
    """The layers' quality before training (`start`), after it (`unchanged`), and with each loss off."""
    networks = train_networks(params, seed)
    found: dict[str, LayerQuality] = {}
    for change in CHANGES:
        training = new_training(params, networks, seed, change=change)
        found.setdefault("start", quality(training))
        for record in training.records():
            if training.step % 50 == 0:
                log.info("seed %d, %s, step %d: mask mean %.3f", seed, change, training.step, record["mask_mean"])
        found[change] = quality(training)
        if pictures is not None:
            pictures.mkdir(parents=True, exist_ok=True)
            layers_sheet(training).save(pictures / f"{change}-{seed}.png")
    return found


@torch.no_grad()
def layers_sheet(training: ImagenetCgnTraining) -> Image.Image:
    """A column per class, all with one noise, twice enlarged; rows: the teacher's image, composite, premask, mask, foreground,
    background, and a counterfactual with the texture of the class three further and the background of that seven further.
    """
    cgn = training.cgn.eval()
    labels = torch.arange(NUM_CLASSES)
    noise = PerMechanism(*(part.expand(NUM_CLASSES, -1) for part in cgn.draw_noise(1, stream(0, "sheet"), shared=True)))
    layers = cgn(noise, Factors(labels, labels, labels))
    rows = (
        training.teacher(noise.shape, training.teacher.embed(labels), cgn.truncation),
        layers.composite,
        layers.premask,
        layers.mask.expand(-1, 3, -1, -1) * 2 - 1,
        layers.foreground,
        layers.background,
        cgn(noise, Factors(labels, labels.roll(-3), labels.roll(-7))).composite,
    )
    pixels = torch.cat([torch.cat(list(to_pixels(row)), 2) for row in rows], 1)
    image = to_image(pixels)
    return image.resize((2 * image.width, 2 * image.height), Image.Resampling.NEAREST)


def figures(found: dict[str, LayerQuality]) -> dict[str, float]:
    """What a seed's runs say: how far saliency of backgrounds fell, how much of masks is decided, how large they are with all losses
    and by how much larger or smaller without one, and how many times the reconstruction error grows without its losses.
    """
    start, whole = found["start"], found["unchanged"]
    return {
        "background_saliency_fell_by": 1 - whole.background_saliency / start.background_saliency,
        "mask_binary_share": whole.mask_binary_share,
        "mask_mean": whole.mask_mean,
        "mask_mean_rises_without_texture": found["no_texture"].mask_mean - whole.mask_mean,
        "mask_mean_falls_without_background": whole.mask_mean - found["no_background"].mask_mean,
        "error_times_without_reconstruction": found["no_reconstruction"].reconstruction_l1 / whole.reconstruction_l1,
    }


def main() -> None:
    """Print the figures of every seed, their mean, and the numbers behind them."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--pictures", type=Path, help="folder for a picture of every run's layers")
    args = options.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    params = prepare()
    found = {seed: run_seed(params, seed, args.pictures) for seed in args.seeds}
    per_seed = {seed: figures(qualities) for seed, qualities in found.items()}
    names = next(iter(per_seed.values()))
    report(
        "small_teacher",
        figures={name: _rounded({str(seed): values[name] for seed, values in per_seed.items()}) for name in names},
        mean=_rounded({name: fmean(values[name] for values in per_seed.values()) for name in names}),
        runs={
            seed: {run: _rounded(numbers._asdict()) for run, numbers in qualities.items()}
            for seed, qualities in found.items()
        },
    )


def _rounded(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: round(number, 4) for name, number in numbers.items()}


if __name__ == "__main__":
    main()
