"""Images per second of the ImageNet CGN, in training and in generation, beside a plain loop over one image at a time.

The plain loop does what the CGN's authors' does: every weight is divided by its spectral norm in every pass, maps are normalised
step by step, all 128 channels of the last convolution are computed, batch normalisations of U2-Net stay apart, every patch is
unfolded, and counterfactuals come with the teacher's image and the background's saliency; float32. All networks are of full size
with random weights, which take as long as trained ones. VGG16 is one for all, and lies as ours does, with channels innermost in memory.

Usage: python -m benchmarks.imagenet_cgn [--size-px 256] [--images 4] [--micro-batch 1] [--contiguous]
"""

import argparse
import itertools
import statistics
from collections.abc import Callable
from typing import Any

import torch
from pytorch_pretrained_biggan import BigGAN as PackageBigGan
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.common import prepare, report, seconds
from benchmarks.texture_patches import unfolded_patch_grid
from cgn.config import ImagenetCgnConfig, ImagenetTrainBudget, Precision
from cgn.contracts import Factors
from cgn.generators.imagenet_cgn import MECHANISMS, ImagenetCgn
from cgn.generators.imagenet_training import ImagenetCgnTraining, ImagenetRun
from cgn.losses.mask import binary_entropy, saliency, size_hinge
from cgn.losses.perceptual import perceptual_distance
from cgn.models.biggan import BigGan, biggan_config, random_biggan, truncated_noise
from cgn.models.u2net import FULL, U2Net, for_inference
from cgn.models.vgg import VggFeatures, random_vgg_features
from cgn.rng import stream
from cgn.training import seeded
from stages.devices import device as found_device

_NOTHING = [0.0] * 4
_PAPERS_IMAGES = 300 * 4000  # optimiser steps of so many images


def _biggan(size_px: int, state: dict[str, Tensor]) -> BigGan:
    network = BigGan(biggan_config(size_px))
    network.load_state_dict(state)
    return network


class _PlainLoop:
    """One image at a time, everything in every pass."""

    def __init__(self, args: argparse.Namespace, state: dict[str, Tensor], vgg: VggFeatures) -> None:
        config, device = biggan_config(args.size_px), next(vgg.parameters()).device
        self.recipe: ImagenetCgnConfig = args.recipe
        networks = {name: PackageBigGan(config).to(device) for name in ("teacher", *MECHANISMS)}
        for network in networks.values():
            network.load_state_dict(state)
        self.teacher = networks.pop("teacher").eval().requires_grad_(False)
        self.mechanisms, self.vgg, self.device = networks, vgg, device
        self.saliency = seeded(0, lambda: U2Net(FULL)).eval().requires_grad_(False).to(device)
        self.optimizers = [torch.optim.Adam(network.parameters(), lr=1e-5) for network in networks.values()]

    def layers(self, labels: list[int], rng: torch.Generator) -> tuple[Tensor, ...]:
        """Teacher's image, mask, foreground, background, background's saliency."""
        noise = truncated_noise(1, 1.0, rng).to(self.device)
        classes = [F.one_hot(torch.tensor([label]), 1000).float().to(self.device) for label in labels]
        target = self.teacher(noise, classes[0], 1.0).detach()
        premask, foreground, background = (
            self.mechanisms[name](noise, part, 1.0) for name, part in zip(MECHANISMS, classes, strict=True)
        )
        mask = self.saliency(premask).clamp(1e-4, 1 - 1e-4)
        return target, mask, foreground, background, self.saliency(background)

    def train(self, images: int) -> None:
        """One step of the optimisers."""
        recipe = self.recipe
        for network in self.mechanisms.values():
            network.train()
        for image in range(images):
            rng = stream(image)
            label = int(torch.randint(1000, (1,), generator=rng))
            target, mask, foreground, background, left = self.layers([label] * 3, rng)
            composite = mask * foreground + (1 - mask) * background
            grid = unfolded_patch_grid(target, mask.detach(), rng)
            total = (
                recipe.lambda_l1 * F.l1_loss(composite, target)
                + self._style(composite, target, recipe.style_weights)
                + recipe.lambda_binary * binary_entropy(mask)
                + recipe.lambda_size * size_hinge(mask, low=recipe.size_range[0], high=recipe.size_range[1])
                + self._style(foreground, grid, recipe.texture_weights)
                + recipe.lambda_background * saliency(left)
            )
            total.backward()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()

    def _style(self, found: Tensor, target: Tensor, weights: list[float]) -> Tensor:
        return perceptual_distance(self.vgg(found), self.vgg(target), content=_NOTHING, style=weights)

    @torch.no_grad()
    def generate(self, images: int) -> None:
        """Counterfactuals of random classes."""
        for network in self.mechanisms.values():
            network.eval()
        for image in range(images):
            rng = stream(image)
            labels = torch.randint(1000, (3,), generator=rng).tolist()
            _, mask, foreground, background, _ = self.layers(labels, rng)
            (mask * foreground + (1 - mask) * background).cpu()


class _Ours:
    """The product's training and generation."""

    def __init__(
        self, args: argparse.Namespace, state: dict[str, Tensor], precision: Precision, vgg: VggFeatures
    ) -> None:
        device = next(vgg.parameters()).device
        mechanisms: dict[str, nn.Module] = {name: _biggan(args.size_px, state) for name in MECHANISMS}
        network = for_inference(seeded(0, lambda: U2Net(FULL)))
        self.cgn = ImagenetCgn(mechanisms, network, truncation=1.0).to(device)
        teacher = _biggan(args.size_px, state).to(device)
        budget = ImagenetTrainBudget(
            num_steps=10**8,
            effective_batch=args.images,
            micro_batch=args.micro_batch,
            recompute=False,
            compile=False,
            num_processes=1,
        )
        self.training = ImagenetCgnTraining(args.recipe, self.cgn, teacher, vgg, ImagenetRun(budget, precision, 0))
        self.precision, self.micro_batch, self.device = precision, args.micro_batch, device

    def contiguous(self) -> "_Ours":
        """The same with maps one after another in memory; VGG16, which others share, stays as it is."""
        networks: list[Any] = [self.cgn, self.training.teacher]
        for network in networks:
            network.to(memory_format=torch.contiguous_format)
        return self

    def train(self, images: int) -> None:
        """One step of the optimisers, of as many images as it was made for."""
        assert images == self.training.effective_batch
        next(self.training.records())

    @torch.no_grad()
    def generate(self, images: int) -> None:
        """Counterfactuals of random classes."""
        self.cgn.eval()
        for start in range(0, images, self.micro_batch):
            size, rng = min(self.micro_batch, images - start), stream(start)
            labels = Factors(*torch.randint(1000, (3, size), generator=rng).to(self.device))
            noise = self.cgn.draw_noise(size, rng, shared=True)
            noise = type(noise)(*(part.to(self.device) for part in noise))
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
                self.cgn(noise, labels).composite.float().cpu()


def main() -> None:
    """Measure all by turns and print images per second, ratios, hours of a whole training and, on a GPU, peak memory."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--size-px", type=int, default=256)
    options.add_argument("--images", type=int, default=4, help="per optimiser step, and generated")
    options.add_argument("--micro-batch", type=int, default=1)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--contiguous", action="store_true", help="also with maps one after another in memory")
    args = options.parse_args()
    args.recipe = prepare().imagenet_cgn["authors_code"]
    device = found_device()
    vgg = random_vgg_features(0).to(device)
    state = random_biggan(biggan_config(args.size_px), 0).state_dict()
    makers: dict[str, Callable[[], Any]] = {
        "plain_loop": lambda: _PlainLoop(args, state, vgg),
        "ours_float32": lambda: _Ours(args, state, "float32", vgg),
        "ours_bfloat16": lambda: _Ours(args, state, "bfloat16", vgg),
    }
    if args.contiguous:
        makers["ours_bfloat16_contiguous"] = lambda: _Ours(args, state, "bfloat16", vgg).contiguous()
    # By turns on a CPU, whose speed drifts; one after another on a GPU, whose peak memory is each one's own.
    groups = [list(makers)] if device.type == "cpu" else [[name] for name in makers]
    rates: dict[str, dict[str, list[float]]] = {"train": {}, "generate": {}}
    peaks: dict[str, float] = {}
    for group in groups:
        contenders = {name: makers[name]() for name in group}
        for repeat in range(args.repeats + 1):
            for (name, contender), work in itertools.product(contenders.items(), rates):
                taken = seconds(lambda c=contender, w=work: _run(c, w, args.images, device))  # type: ignore[misc]
                if repeat:  # the first warms up
                    rates[work].setdefault(name, []).append(args.images / taken)
        if device.type == "cuda":
            peaks[group[0]] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
            contenders.clear()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
    medians = {work: {name: statistics.median(found) for name, found in part.items()} for work, part in rates.items()}
    report(
        "imagenet_cgn",
        device=torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        size_px=args.size_px,
        images=args.images,
        micro_batch=args.micro_batch,
        images_per_second={
            work: {name: round(rate, 3) for name, rate in part.items()} for work, part in medians.items()
        },
        times_the_plain_loop={
            work: {name: round(rate / part["plain_loop"], 2) for name, rate in part.items()}
            for work, part in medians.items()
        },
        hours_of_the_papers_training={
            name: round(_PAPERS_IMAGES / rate / 3600, 1) for name, rate in medians["train"].items()
        },
        peak_gibibytes=peaks,
    )


def _run(contender: Any, work: str, images: int, device: torch.device) -> None:
    getattr(contender, work)(images)
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
