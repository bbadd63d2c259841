"""The sections of params.yaml on classifiers of natural images: what they learn from, how, and what they are shown."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cgn.config.types import Count, Fraction, Model, Name, NonNegative, Positive, Weight

# Real images that a classifier may learn from. `swapped`: objects of the training part before backgrounds of other images, drawn anew in
# every epoch; masks are their only aid. Those that start with in9_ are variants of the training part of ImageNet-9.
RealSource = Literal[
    "images", "stylized", "swapped", "in9_original", "in9_mixed_same", "in9_mixed_rand", "in9_mixed_next", "in9_only_fg"
]


class ImagesConfig(Model):
    """Photographs in folders called after WordNet's numbers, as ImageNet has them."""

    source: Literal["drawn", "folder"]  # drawn: pictures of textured shapes, with their masks, that nobody has to get
    train: str | None
    val: str | None  # held out; none: val_share of the training folder
    val_share: Fraction | None  # of every class, drawn by their names

    @model_validator(mode="after")
    def _says_which(self) -> "ImagesConfig":
        if self.source == "drawn":
            if found := [name for name in ("train", "val", "val_share") if getattr(self, name) is not None]:
                raise ValueError(f"{found[0]}: found {getattr(self, found[0])!r}, expected null for drawn images")
        elif self.train is None:
            raise ValueError("train: found nothing, expected a folder of photographs, because source is 'folder'")
        elif (self.val is None) == (self.val_share is None):
            raise ValueError(
                f"val: found {self.val!r} and val_share {self.val_share!r}, expected exactly one of them: a folder, or a share"
            )
        elif self.val_share is not None and not 0 < self.val_share < 1:
            raise ValueError(f"val_share: found {self.val_share}, expected more than 0 and less than 1")
        return self


class SetsConfig(Model):
    """Folders of other images, by choice; what is not there is an empty cell in the tables."""

    # `drawn` beside drawn images; else Geirhos et al.'s: <category>/<shape><n>-<texture><n>.png
    cue_conflict: str | None
    stylized_train: str | None  # Stylized-ImageNet, in ImageNet's form
    stylized_val: str | None
    imagenet_a: str | None
    imagenet_sketch: str | None
    released_in9: str | None  # the Backgrounds Challenge's: <variant>/val/<class>/<picture>


class In9Config(Model):
    """How ImageNet-9 is built from the photographs of its classes."""

    masks: Literal["given", "grabcut", "saliency"]  # files; GrabCut within ImageNet's boxes; the saliency network
    masks_from: str | None  # the folder of mask files, laid out as the photographs, or of boxes as ImageNet's XML files
    mix_by: Literal["mask", "black"]  # black: as the published script has it, backgrounds shine through black objects
    size_px: Count
    max_per_class: Count | None  # images of each of the nine classes in each part, to balance them; none: all
    jpeg_quality: Annotated[int, Field(ge=1, le=100)]
    images_per_shard: Count

    @model_validator(mode="after")
    def _masks_have_a_folder(self) -> "In9Config":
        if self.masks == "saliency" and self.masks_from is not None:
            raise ValueError(f"masks_from: found {self.masks_from!r}, expected null: saliency needs no folder")
        if self.masks == "grabcut" and self.masks_from is None:
            raise ValueError(
                "masks_from: found nothing, expected a folder of ImageNet's boxes, because masks is 'grabcut'"
            )
        return self


class ClassifierBudgetConfig(Model):
    """How long classifiers of natural images train, and on images of what size."""

    image_px: Count  # a side, of what classifiers see
    num_epochs: Count | None  # instead of the recipe's
    batch_size: Count | None  # likewise
    num_workers: Annotated[int, Field(ge=0, le=256)]  # processes that decode images: speed, not the result
    num_processes: Annotated[
        int, Field(ge=1, le=1024)
    ]  # that share a step's images, a GPU each: speed, and what dropout draws


class EvaluationConfig(Model):
    """What classifiers of natural images are evaluated on, beyond whole sets."""

    num_train: Count  # training images that accuracy on them is measured on
    challenge_backgrounds: Count | None  # per foreground; none: all, as published
    batch_size: Count


class ExplainConfig(Model):
    """Whose decisions are explained."""

    num_images: Annotated[int, Field(ge=2, le=200)]  # where heads disagree, before others
    occlusion_px: Count  # side of the grey square
    lime_samples: Count


class TrainingRecipe(Model):
    """Stochastic gradient descent (Sauer & Geiger 2021, appendix C.5; where the paper and its code differ, a choice)."""

    num_epochs: Count
    batch_size: Count  # real images per step
    lr: Positive
    momentum: Fraction
    weight_decay: NonNegative
    lr_milestones: list[Count]  # epochs after which the rate is multiplied
    lr_factor: Positive
    freeze_batch_norm: bool  # statistics stay those that training began with

    @model_validator(mode="after")
    def _milestones_rise(self) -> "TrainingRecipe":
        if self.lr_milestones != sorted(set(self.lr_milestones)):
            raise ValueError(f"lr_milestones: found {self.lr_milestones}, expected rising epochs")
        return self


class PublishedMethod(Model):
    """The backbone as it was fetched."""

    rule: Literal["published"]


class _Trained(Model):
    recipe: Name  # of `imagenet_training`
    classes: Literal["imagenet", "in9"]  # a thousand, or nine
    mix: Annotated[dict[RealSource, Weight], Field(min_length=1)]


class ImagenetErm(_Trained):
    """Empirical risk minimisation with one head."""

    rule: Literal["erm"]


class LastLayerMethod(_Trained):
    """The last layer alone, on fixed features (Kirichenko et al. 2022)."""

    rule: Literal["last_layer"]
    l2: NonNegative


class EnsembleMethod(_Trained):
    """Three heads on one backbone, one per factor (Sauer & Geiger 2021, section 4.2)."""

    rule: Literal["ensemble"]
    counterfactuals: Literal["generated", "swapped"]
    cf_ratio: Positive  # counterfactuals per real image
    # Parts of the backbone, from its end, that every head has a copy of: 1 is the linear layer.
    cut: Annotated[int, Field(ge=1, le=3)]
    new_heads: bool  # last layers begin with new weights, as in the authors' code; else as the backbone's, all alike


ImagenetMethod = Annotated[
    PublishedMethod | ImagenetErm | LastLayerMethod | EnsembleMethod, Field(discriminator="rule")
]


def needs_generated(method: ImagenetMethod) -> bool:
    """Whether a method learns from a generator's counterfactuals."""
    return isinstance(method, EnsembleMethod) and method.counterfactuals == "generated"
