"""The ImageNet sections of params.yaml."""

import re
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, model_validator

from cgn.config.imagenet_classifiers import (
    ClassifierBudgetConfig,
    EvaluationConfig,
    ExplainConfig,
    ImagesConfig,
    In9Config,
    SetsConfig,
)
from cgn.config.types import Count, Fraction, Model, Name, NonNegative, Positive
from cgn.yaml_files import ConfigError

StageWeights = Annotated[list[NonNegative], Field(min_length=4, max_length=4)]  # of VGG's four stages
ClassId = Annotated[int, Field(ge=0, lt=1000)]
Truncation = Annotated[float, Field(gt=0, le=1)]
Pair = Annotated[list[ClassId], Field(min_length=2, max_length=2)]
Triple = Annotated[list[ClassId], Field(min_length=3, max_length=3)]  # of shape, texture and background
Quadruple = Annotated[list[ClassId], Field(min_length=4, max_length=4)]  # an image; then texture, background, shape


def _none_twice(choices: list[list[int]]) -> list[list[int]]:
    """Every choice of classes names its files."""
    for place, choice in enumerate(choices):
        if choice in choices[:place]:
            raise ValueError(f"{place}: found {choice} once more, expected every entry once")
    return choices


_each_once = AfterValidator(_none_twice)


class PatchesConfig(Model):
    """The grid of patches that foregrounds are compared with."""

    working_px: Count  # the side at which images and masks are looked at
    patch_px: Count
    num_candidates: Count  # the places with most object, from which patches are drawn
    grid: Count  # patches a side

    @model_validator(mode="after")
    def _places_suffice(self) -> "PatchesConfig":
        places = max(0, self.working_px - self.patch_px + 1) ** 2
        if self.num_candidates > places:
            raise ValueError(
                f"num_candidates: found {self.num_candidates}, expected at most {places}, as many as places"
            )
        return self


class CollapseStopConfig(Model):
    """When a training ends because its masks are all object or all background."""

    after_share: Fraction  # of the run's steps, from where on masks count
    mask_mean: Annotated[list[Fraction], Field(min_length=2, max_length=2)]  # of a step's images, within which it stays
    for_steps: Count  # so many steps outside, one after another, end the run

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> "CollapseStopConfig":
        if not self.mask_mean[0] < self.mask_mean[1]:
            raise ValueError(f"mask_mean: found {self.mask_mean}, expected the lowest and then the highest")
        return self


class RefinerConfig(Model):
    """A shallow network after the composer (appendix F)."""

    width: Count  # channels
    lr: Positive  # Adam


class ImagenetCgnConfig(Model):
    """A recipe (Sauer & Geiger 2021, section 3.2 and appendix B); where the paper and its code differ, a choice."""

    truncation: Truncation  # of noise in training, and of the statistics that maps are normalised by
    effective_batch: Count  # images per optimiser step
    shape_lr: Positive  # Adam
    texture_lr: Positive
    background_lr: Positive
    ema_decay: Fraction  # per optimiser step; 0: the last weights count
    lambda_l1: NonNegative  # of composites against the teacher's images
    content_weights: StageWeights  # the same, of their features
    style_weights: StageWeights  # likewise, of the features' Gram matrices
    lambda_binary: NonNegative  # of the mask's entropy in nats
    lambda_size: NonNegative  # of mean masks outside size_range
    size_range: Annotated[list[Fraction], Field(min_length=2, max_length=2)]
    patches_from: Literal["composite", "teacher"]  # what foregrounds are compared with patches of
    texture_weights: StageWeights  # of the Gram matrices of that comparison
    patches: PatchesConfig
    lambda_background: NonNegative  # of what is salient in backgrounds
    refiner: RefinerConfig | None  # none: an image is what the composer makes
    collapse_stop: CollapseStopConfig | None  # none: the run goes on whatever its masks

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> "ImagenetCgnConfig":
        if not self.size_range[0] < self.size_range[1]:
            raise ValueError(f"size_range: found {self.size_range}, expected the lowest and then the highest")
        return self


class WeightsConfig(Model):
    """Where a network's published weights come from."""

    source: Literal["none", "random", "path", "download"]  # none: do without the network
    location: str | None  # the file, or its URL
    sha256: str | None  # the first digits, eight at least, of the file's; one that is given by its path may lack them

    @model_validator(mode="after")
    def _says_which(self) -> "WeightsConfig":
        if self.source in {"none", "random"}:
            return self
        if not self.location:
            raise ValueError(
                f"location: found nothing, expected the file or its URL, because source is {self.source!r}"
            )
        if self.sha256 is None and self.source == "download":
            raise ValueError("sha256: found nothing, expected the file's first digits, because source is 'download'")
        if self.sha256 is not None and not re.fullmatch("[0-9a-f]{8,64}", self.sha256):
            raise ValueError(f"sha256: found {self.sha256!r}, expected 8 to 64 digits 0-9a-f")
        if self.source == "download" and not self.location.startswith("https://"):
            raise ValueError(f"location: found {self.location!r}, expected a URL that starts with https://")
        return self


class ClassifierWeights(WeightsConfig):
    """The same of a classifier, and which one it is."""

    name: Name  # torchvision's


_Weights = TypeVar("_Weights", bound=WeightsConfig)


def _is_there(weights: _Weights) -> _Weights:
    if weights.source == "none":
        raise ValueError("source: found 'none', expected random, path or download: nothing goes without this network")
    return weights


Needed = Annotated[WeightsConfig, AfterValidator(_is_there)]


class ImagenetWeights(Model):
    """The networks that others trained."""

    biggan: Needed
    saliency: Needed
    vgg: Needed
    inception: WeightsConfig  # judges images: without it there is no Inception Score and no FID
    classifier: ClassifierWeights  # judges counterfactuals: without it nobody says which classes they show
    backbone: Annotated[ClassifierWeights, AfterValidator(_is_there)]  # that classifiers start from


class ImagenetNetworks(Model):
    """Which networks they are."""

    size_px: Literal[64, 128, 256, 512]  # BigGAN-deep's; 64 is no published one
    channel_width: Count  # 128 in the published ones
    saliency: Literal["u2net", "u2netp"]
    vgg: Literal["vgg16", "vgg16_bn"]  # without and with batch normalisation

    @model_validator(mode="after")
    def _leaves_channels(self) -> "ImagenetNetworks":
        if self.channel_width % 8:  # blocks take a quarter of their channels, attention an eighth of its own
            raise ValueError(f"channel_width: found {self.channel_width}, expected a multiple of 8")
        return self


class ImagenetTrainBudget(Model):
    """How long the CGN trains, and how it fits a device."""

    num_steps: Count  # of the optimisers
    effective_batch: Count | None  # instead of the recipe's, where a scale cannot pay for it
    micro_batch: Count  # images at a time: memory and speed, not the result
    recompute: bool  # activations in the backward pass: less memory, a third more time
    compile: bool  # the networks by torch.compile: minutes at the start, and steps that may be faster
    num_processes: Annotated[int, Field(ge=1, le=1024)]  # that share a step's images, a GPU each: speed, not the result

    @model_validator(mode="after")
    def _images_suffice(self) -> "ImagenetTrainBudget":
        if self.effective_batch is not None and self.num_processes > self.effective_batch:
            raise ValueError(
                f"num_processes: found {self.num_processes}, expected at most {self.effective_batch}, as many as a step has images"
            )
        return self


class ImagenetGenerateBudget(Model):
    """How many counterfactuals are written, of which classes."""

    num_images: Count
    images_per_shard: Count
    micro_batch: Count  # images at a time
    truncation: Truncation
    shared_noise: bool  # one noise per image for all mechanisms, or one per mechanism
    shape_classes: list[ClassId]  # drawn from uniformly; none: from all thousand
    texture_classes: list[ClassId]
    background_classes: list[ClassId]


class ImagenetMeasureBudget(Model):
    """How many images the layers are measured on."""

    num_images: Count
    micro_batch: Count  # images at a time


class ImageQualityBudget(Model):
    """What Inception Score, FID and effectiveness are measured on; none of them says anything without it."""

    num_images: Annotated[Count, Field(ge=2)]
    micro_batch: Count  # images at a time
    truncation: Truncation
    num_splits: Count  # of the images, for Inception Score
    score_at: list[Count]  # Inception Score of the first so many images too, because it moves with their number
    real_images: str | None  # a folder of photographs, for FID against them too

    @model_validator(mode="after")
    def _counts_suffice(self) -> "ImageQualityBudget":
        for field, count in (("num_images", self.num_images), *(("score_at", count) for count in self.score_at)):
            if not self.num_splits <= count <= self.num_images:
                raise ValueError(
                    f"{field}: found {count}, expected {self.num_splits}, which is num_splits, to {self.num_images} images"
                )
        if self.score_at != sorted(set(self.score_at)):
            raise ValueError(f"score_at: found {self.score_at}, expected rising counts")
        return self


class ImagenetInterpolations(Model):
    """Sheets from one class to another, mechanism by mechanism."""

    pairs: Annotated[list[Pair], _each_once]
    columns: Annotated[int, Field(ge=2, le=50)]  # both ends are counted
    noise_moves: bool  # from one draw to another on the way; else one draw throughout, as the authors have it


class ImagenetFilms(Model):
    """Walks through noise and the transformation, as moving pictures that end where they began."""

    classes: Annotated[list[Triple], _each_once]  # of the walks
    stops: Annotated[int, Field(ge=2, le=100)]  # draws that a walk goes through
    frames: Annotated[int, Field(ge=1, le=1000)]  # from a stop or a step of the transformation to the next
    frames_per_second: Annotated[int, Field(ge=1, le=50)]  # more cannot be said in a GIF


class ImagenetPictures(Model):
    """What is drawn of a trained CGN, each in files of its own; an empty list draws none."""

    micro_batch: Count  # images at a time
    truncation: Truncation
    layers: Annotated[list[Triple], _each_once]  # counterfactuals of which every layer is a picture
    interpolations: ImagenetInterpolations
    films: ImagenetFilms
    transformations: Annotated[list[Quadruple], _each_once]
    failures: Annotated[int, Field(ge=1, le=100)]  # sheets of the classes that are known to fail, each of another draw


class ImagenetScale(Model):
    """Networks, sources and budgets; never a recipe."""

    weights: ImagenetWeights
    networks: ImagenetNetworks
    train: ImagenetTrainBudget
    generate: ImagenetGenerateBudget
    measure: ImagenetMeasureBudget
    image_quality: ImageQualityBudget
    illustrate: ImagenetPictures
    images: ImagesConfig
    sets: SetsConfig
    in9: In9Config
    classifier: ClassifierBudgetConfig
    evaluate: EvaluationConfig
    explain: ExplainConfig

    @model_validator(mode="after")
    def _drawn_with_drawn(self) -> "ImagenetScale":
        if self.images.source == "drawn":
            if self.in9.masks == "given" and self.in9.masks_from is not None:
                raise ValueError(
                    f"in9.masks_from: found {self.in9.masks_from!r}, expected null: drawn images have masks of their own"
                )
        elif self.sets.cue_conflict == "drawn":
            raise ValueError(
                "sets.cue_conflict: found 'drawn', expected a folder or null, because images are a folder's"
            )
        elif self.in9.masks == "given" and self.in9.masks_from is None:
            raise ValueError("in9.masks_from: found nothing, expected a folder of masks, because in9.masks is 'given'")
        return self

    @model_validator(mode="after")
    def _published_weights_fit(self) -> "ImagenetScale":
        published = self.networks.size_px in {128, 256, 512} and self.networks.channel_width == 128
        if self.weights.biggan.source != "random" and not published:
            raise ValueError(
                f"networks: found {self.networks.size_px} px with channel_width {self.networks.channel_width}, expected 128, 256 "
                "or 512 px with 128, of which there are published weights; or set weights.biggan.source to random"
            )
        return self


def check_weight_files(scale: ImagenetScale, name: str, path: Path, *, has_classifiers: bool) -> None:
    """Raises: ConfigError where a weight file or a folder that a scale names is not there; what classifiers alone need does not
    have to be where there are none.
    """
    missing = {
        network: config
        for network, config in scale.weights
        if config.source == "path" and not Path(str(config.location)).is_file()
        if has_classifiers or network != "backbone"
    }
    if missing:
        (network, config), *others = missing.items()
        field = f"imagenet_scales.{name}.weights.{network}.location"
        named = "name: <torchvision's name>, " if isinstance(config, ClassifierWeights) else ""
        line = f"{network}: {{source: path, {named}location: <where it is>, sha256: null}}"
        more = "".join(f"; missing too: {other} at {of.location!r}" for other, of in others)
        raise ConfigError(
            f"{path}: {field}: found no file at {config.location!r}, expected {PUBLISHED_FILES[network]}; put it there, or write "
            f"`{line}`{more}",
            field,
        )
    if (folder := scale.image_quality.real_images) is not None and not Path(folder).is_dir():
        field = f"imagenet_scales.{name}.image_quality.real_images"
        raise ConfigError(
            f"{path}: {field}: found no folder at {folder!r}, expected one of photographs, or null", field
        )
    if not has_classifiers:
        return
    folders = {
        "images.train": scale.images.train,
        "images.val": scale.images.val,
        "in9.masks_from": scale.in9.masks_from,
        **{f"sets.{name}": folder for name, folder in scale.sets if folder != "drawn"},
    }
    for place, folder in folders.items():
        if folder is not None and not Path(folder).is_dir():
            field = f"imagenet_scales.{name}.{place}"
            raise ConfigError(f"{path}: {field}: found no folder at {folder!r}, expected {SETS[place]}", field)


# What to get, for messages: folders of images.
SETS = {
    "images.train": "photographs in folders called after WordNet's numbers, such as n01440764: ImageNet's ILSVRC2012_img_train.tar, "
    "unpacked, from https://image-net.org/download.php after registration; or ImageNet-mini, "
    "https://www.kaggle.com/datasets/ifigotin/imagenetmini-1000",
    "images.val": "photographs in folders called after WordNet's numbers, such as n01440764: those of ImageNet's "
    "ILSVRC2012_img_val.tar, sorted into such folders, or ImageNet-mini's; or null, and val_share",
    "in9.masks_from": "folders train and val of masks, as PNG, or, for GrabCut, of ImageNet's boxes (ILSVRC2012_bbox_train_v2.tar.gz and "
    "ILSVRC2012_bbox_val_v3.tgz, unpacked), each laid out as its photographs; one folder for both, where no two have one name",
    "sets.cue_conflict": "the folder stimuli/style-transfer-preprocessed-512 of https://github.com/rgeirhos/texture-vs-shape, or null",
    "sets.stylized_train": "Stylized-ImageNet, made by https://github.com/rgeirhos/Stylized-ImageNet, or null",
    "sets.stylized_val": "Stylized-ImageNet, made by https://github.com/rgeirhos/Stylized-ImageNet, or null",
    "sets.imagenet_a": "ImageNet-A, unpacked, from https://github.com/hendrycks/natural-adv-examples, or null",
    "sets.imagenet_sketch": "ImageNet-Sketch, unpacked, from https://github.com/HaohanWang/ImageNet-Sketch, or null",
    "sets.released_in9": "backgrounds_challenge_data.tar.gz, unpacked, from https://github.com/MadryLab/backgrounds_challenge, or null",
}

# What to get, for messages: the file, its size and where it is.
PUBLISHED_FILES = {
    "biggan": "biggan-deep-<size>-pytorch_model.bin (about 230 MB) of pytorch-pretrained-BigGAN, from "
    "https://s3.amazonaws.com/models.huggingface.co/biggan/biggan-deep-256-pytorch_model.bin",
    "saliency": "u2net.pth (176 MB) or u2netp.pth (4.7 MB), linked from https://github.com/xuebinqin/U-2-Net",
    "vgg": "vgg16-397923af.pth or vgg16_bn-6c64b313.pth (528 MB each), as `networks.vgg` says, from "
    "https://download.pytorch.org/models/vgg16-397923af.pth or https://download.pytorch.org/models/vgg16_bn-6c64b313.pth",
    "inception": "weights-inception-2015-12-05-6726825d.pth (91 MB) of torch-fidelity, from "
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth; "
    "or set source to none, for metrics without Inception Score and FID",
    "backbone": "torchvision's file of that classifier, such as resnet50-0676ba61.pth (98 MB), from "
    "https://download.pytorch.org/models/resnet50-0676ba61.pth; or set source to random, to train from scratch",
    "classifier": "torchvision's file of that classifier, such as resnet50-0676ba61.pth (98 MB), from "
    "https://download.pytorch.org/models/resnet50-0676ba61.pth; or set source to none, for metrics without effectiveness",
}
