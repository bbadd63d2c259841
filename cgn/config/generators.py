"""The generators' sections of params.yaml."""

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from cgn.config.types import Count, DatasetName, Fraction, Model, NonNegative, Positive


class CollapseConfig(Model):
    """When masks no longer count as shapes; fractions in [0, 1], measured on the averaged generator."""

    after_share: Fraction  # of the steps: before, masks may still be forming
    mask_mean: Annotated[list[Fraction], Field(min_length=2, max_length=2)]  # lowest and highest
    min_binary_share: Fraction
    max_border_mean: Fraction
    min_class_diversity: Fraction
    min_class_distance: Fraction
    max_class_roughness: Fraction

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> "CollapseConfig":
        if not self.mask_mean[0] < self.mask_mean[1]:
            raise ValueError(f"mask_mean: found {self.mask_mean}, expected the lowest and then the highest")
        return self


class FastCgnConfig(Model):
    """The CGN for MNIST as this project trains it: small, stable and without any pre-trained network."""

    recipe: Literal["fast"]
    latent: Count
    shape_width: Count
    texture_width: Count
    canvas_cells: Annotated[int, Field(ge=7, le=64)]  # the side of a texture's canvas; a cell becomes 8 px
    discriminator_width: Count
    lr: Positive  # Adam, of textures and discriminator, at first
    shape_lr: Positive  # of shapes, likewise
    lr_constant_images: Count  # how long both stay; what is left of a longer run lets them fall linearly to zero
    ema_decay: Fraction
    batch_size: Count
    lambda_binary: NonNegative
    lambda_border: NonNegative
    lambda_similarity: NonNegative
    lambda_ssim: NonNegative  # of composites against training images of their class; the paper has no such term
    inference_width: Count
    inference_after_share: Fraction  # of the steps, after which the network that infers masks learns
    redress_after_share: Fraction  # likewise, after which half of each batch has masks inferred from training images
    shapes: Literal["inferred", "drawn"]  # of counterfactuals: masks of training images, or new ones from noise
    mask_distance: Positive  # below which two masks of one class count as alike: mean absolute difference of pixels
    hard_masks: list[DatasetName]  # whose counterfactuals get masks of 0 and 1: their images have hard edges
    sheet_every_steps: Count
    retries: Annotated[int, Field(ge=0, le=20)]
    collapse: CollapseConfig

    @model_validator(mode="after")
    def _masks_are_inferred_once_that_is_learned(self) -> "FastCgnConfig":
        used_from = min(self.redress_after_share, 1.0 if self.shapes == "inferred" else 2.0)
        if (self.shapes == "inferred" or self.redress_after_share < 1) and self.inference_after_share >= used_from:
            raise ValueError(
                f"inference_after_share: found {self.inference_after_share}, expected less than {used_from}, after which "
                "masks are inferred"
            )
        return self


class AuthorsDatasetConfig(Model):
    """What the authors of the CGN chose anew for each data set."""

    lambda_binary: NonNegative  # of the mask's entropy in bits
    style_weights: Annotated[list[NonNegative], Field(min_length=4, max_length=4)]  # of VGG's stages, to be squared
    discriminator: Literal["linear", "conv"]
    discriminator_width: Count
    init: Literal["orthogonal", "normal"]  # of the generator's weights
    init_gain: Positive  # the standard deviation, for normal


class AuthorsDatasets(Model):
    """One section per data set variant; the field's name is the data set's name."""

    colored: AuthorsDatasetConfig
    double_colored: AuthorsDatasetConfig
    wildlife: AuthorsDatasetConfig


class AuthorsCgnConfig(Model):
    """The CGN for MNIST as its authors' code trains it (Sauer & Geiger 2021, appendix C.4); needs VGG16 weights."""

    recipe: Literal["authors_code"]
    latent: Count
    width: Count
    lr: Positive  # Adam, of generator and discriminator
    betas: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)]
    batch_size: Count
    epochs: Count  # at most: a run ends earlier where the scale's budget of images is used up
    style_scale: NonNegative
    datasets: AuthorsDatasets
    vgg_weights: str | None  # file with torchvision's vgg16 state dict, .pth or .safetensors
    vgg_sha256: str  # first digits of that file's SHA-256
    hard_masks: list[DatasetName]  # as in FastCgnConfig
    sheet_every_steps: Count
    retries: Annotated[int, Field(ge=0, le=20)]
    collapse: CollapseConfig

    @model_validator(mode="after")
    def _digits_are_hexadecimal(self) -> "AuthorsCgnConfig":
        if not re.fullmatch("[0-9a-f]{8,64}", self.vgg_sha256):
            raise ValueError(f"vgg_sha256: found {self.vgg_sha256!r}, expected 8 to 64 digits 0-9a-f")
        return self


class CutPasteConfig(Model):
    """A hand-made baseline: objects cut out of training images by their colours, and pasted together anew."""

    recipe: Literal["cut_paste"]
    images_per_class: Count  # of the training images that are kept
    hard_masks: list[DatasetName]  # as in FastCgnConfig
    sheet_every_steps: Count
    retries: Annotated[int, Field(ge=0, le=20)]
    collapse: CollapseConfig


class GanConfig(Model):
    """A monolithic conditional GAN, for the paper's row Original + GAN."""

    recipe: Literal["gan"]
    latent: Count
    width: Count
    discriminator_width: Count
    lr: Positive  # Adam, of generator and discriminator, at first
    lr_constant_images: Count  # as in FastCgnConfig
    ema_decay: Fraction
    batch_size: Count
    sheet_every_steps: Count

    @property
    def hard_masks(self) -> tuple[()]:
        """No data set: a GAN has no masks."""
        return ()

    @property
    def retries(self) -> int:
        """No further attempts: nothing is known by which to refuse one."""
        return 0

    @property
    def collapse(self) -> None:
        """No limits, since they are of masks."""
        return None


class BetaVaeConfig(Model):
    """A beta-VAE (Higgins et al. 2017), whose latent space keeps colour and shape tangled (the paper's appendix A.1)."""

    recipe: Literal["beta_vae"]
    latent: Count
    width: Count
    beta: NonNegative
    lr: Positive  # Adam, at first
    lr_constant_images: Count  # as in FastCgnConfig
    batch_size: Count
    sheet_every_steps: Count

    @property
    def hard_masks(self) -> tuple[()]:
        """No data set: it has no masks."""
        return ()

    @property
    def retries(self) -> int:
        """No further attempts."""
        return 0

    @property
    def collapse(self) -> None:
        """No limits."""
        return None


GeneratorConfig = Annotated[
    FastCgnConfig | AuthorsCgnConfig | CutPasteConfig | GanConfig | BetaVaeConfig, Field(discriminator="recipe")
]
