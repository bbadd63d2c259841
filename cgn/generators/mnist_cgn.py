"""The CGN for MNIST: three mechanisms, composed, and the `fast` recipe that trains them."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cgn.composer import compose, to_images, worn
from cgn.config import FastCgnConfig
from cgn.contracts import Factors, Images, Labels, Masks, Pixels, Scalar
from cgn.generators.adversarial import AdversarialTraining
from cgn.generators.base import STATISTICS_PER_CLASS, Generator, Layers, Noise, Run
from cgn.generators.collapse import MaskStatistics, mask_statistics
from cgn.losses.mask import binary_entropy, border_mean, similarity
from cgn.losses.ssim import structural_similarity
from cgn.mnist import NUM_CLASSES
from cgn.models.inference import MaskInference
from cgn.models.mechanisms import MASK_EPS, ShapeMechanism, TextureMechanism


class MnistCgn(Generator):
    """Shape, texture and background mechanisms, each with a label and noise of its own, and the way back to masks."""

    infers_masks = True

    def __init__(self, config: FastCgnConfig) -> None:
        super().__init__()
        self.latent = config.latent
        self.shape = ShapeMechanism(latent=config.latent, width=config.shape_width)
        textures = {"latent": config.latent, "width": config.texture_width, "canvas_cells": config.canvas_cells}
        self.texture = TextureMechanism(**textures)
        self.background = TextureMechanism(**textures)
        self.inference = MaskInference(width=config.inference_width)

    def forward(self, noise: Noise, factors: Factors) -> Layers:
        """Mask, foreground and background of every image. With three equal labels: what the training set shows."""
        return self.dress(self.shape(noise.shape, factors.shape), noise, factors)

    def infer_masks(self, images: Images, labels: Labels) -> Masks:
        """The masks that images of these classes were most likely composed with."""
        return torch.sigmoid(self.inference(images, labels)).clamp(MASK_EPS, 1 - MASK_EPS)

    def dress(self, masks: Masks, noise: Noise, factors: Factors) -> Layers:
        """The given masks with textures and backgrounds of noise and labels."""
        return Layers(
            masks,
            self.texture(noise.texture, factors.texture, noise.texture_shift),
            self.background(noise.background, factors.background, noise.background_shift),
        )

    def draw_noise(self, batch: int, rng: torch.Generator) -> Noise:
        """Standard normal noise for a batch, and uniform places on the textures' canvases."""
        normals = torch.randn(3, batch, self.latent, generator=rng).unbind()
        return Noise(*normals, *(mechanism.draw_places(batch, rng) for mechanism in (self.texture, self.background)))


class FastCgnTraining(AdversarialTraining[FastCgnConfig]):
    """Adversarial training on composites against a projection discriminator, from scratch, with an averaged generator.

    # Differs from the paper: hinge losses and one projection discriminator in place of LSGAN; no perceptual loss; a
    # border term, since the object lies inside the frame; a term against masks of one class that look alike, without
    # which shapes lose their variety; in long runs the learning rate falls to zero; the weights that count are an
    exponential average.

    Once composites look somewhat like training images, a further network learns to tell from a composite its
    mask. Shapes from noise have the faults of a small network; those that it infers from training images are real digits'.
    At last half of each batch wears these, so that textures are judged on the shapes that counterfactuals have.
    """

    generator: MnistCgn

    def __init__(self, config: FastCgnConfig, pixels: Pixels, labels: Labels, run: Run) -> None:
        super().__init__(config, pixels, labels, run, name="mnist_cgn", network=lambda: MnistCgn(config))
        self.hard = run.dataset in config.hard_masks
        self.inference_from = config.inference_after_share * self.num_steps
        self.redress_from = config.redress_after_share * self.num_steps

    def _generator_groups(self) -> Iterable[tuple[Iterable[nn.Parameter], float]]:
        textures = [*self.generator.texture.parameters(), *self.generator.background.parameters()]
        return [
            (self.generator.shape.parameters(), self.config.shape_lr),
            (textures, self.config.lr),
            (self.generator.inference.parameters(), self.config.lr),
        ]

    def _num_drawn(self, size: int) -> int:
        """How many images of a batch have shapes from noise: the first ones."""
        return size if self.step < self.redress_from else -(-size // 2)

    def _draw_layers(self, images: Images, labels: Labels) -> Layers:
        drawn = self._num_drawn(len(labels))
        if drawn == len(labels):
            return super()._draw_layers(images, labels)
        noise = self.generator.draw_training_noise(len(labels), self.rng)
        self.generator.inference.eval()
        with torch.no_grad():
            inferred = self.generator.infer_masks(images[drawn:], labels[drawn:])
        self.generator.inference.train()
        masks = torch.cat([self.generator.shape(noise.shape[:drawn], labels[:drawn]), worn(inferred, hard=self.hard)])
        return self.generator.dress(masks, noise, Factors(labels, labels, labels))

    def _further_losses(self, layers: Layers, images: Images, labels: Labels) -> Mapping[str, tuple[float, Tensor]]:
        # The order in which they are made is the order in which gradients are summed: another one moves the last bits.
        config, drawn = self.config, self._num_drawn(len(labels))
        mask = layers.mask[:drawn]
        losses = {
            "binary": (config.lambda_binary, binary_entropy(mask)),
            "border": (config.lambda_border, border_mean(mask)),
            "similarity": (config.lambda_similarity, similarity(mask, labels[:drawn], distance=config.mask_distance)),
        }
        if config.lambda_ssim:
            losses["ssim"] = (config.lambda_ssim, 1 - structural_similarity(layers.composite, images))
        late = self.step >= self.inference_from
        losses["inference"] = (1.0, self._inference_loss(layers, labels) if late else mask.new_zeros(()))
        return losses

    def _inference_loss(self, layers: Layers, labels: Labels) -> Scalar:
        """Cross entropy in nats of the masks inferred from composites; no gradient reaches the mechanisms."""
        mask, foreground, background = (part.detach().float() for part in layers)
        mask = worn(mask, hard=self.hard)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            logits = self.generator.inference(compose(mask, foreground, background), labels)
        return F.binary_cross_entropy_with_logits(logits, mask)

    @torch.inference_mode()
    def counterfactual_statistics(self) -> MaskStatistics:
        """Where counterfactuals keep the shapes of training images: those of each class's first ones, as inferred."""
        if self.config.shapes == "drawn":
            return super().counterfactual_statistics()
        of_class = [(self.labels == label).nonzero().flatten()[:STATISTICS_PER_CLASS] for label in range(NUM_CLASSES)]
        rows = torch.cat(of_class)
        masks = self.shown.eval().infer_masks(to_images(self.pixels[rows]), self.labels[rows])
        return mask_statistics(worn(masks, hard=self.hard), self.labels[rows])
