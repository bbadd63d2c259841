"""params.yaml as frozen models: what may stand in it, and one clear line for what may not.

What is computed depends on params.yaml, whose keys DVC tracks, and not on how this file checks them. So no stage but `check`
depends on it (`ONLY_REFUSE` in stages/listing.py), and a new key reruns nothing that does not use it. Where that is not so, for the
few defaults and constants of recipes below, a change has to be followed by `dvc repro --force` of what uses them.
"""

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from cgn.errors import InputError
from cgn.mnist import ENVIRONMENTS
from cgn.yaml_files import ConfigError as ConfigError  # noqa: PLC0414  (its users know only this module)
from cgn.yaml_files import read_model

Precision = Literal["float32", "bfloat16"]
DatasetName = Literal["colored", "double_colored", "wildlife"]
EnvironmentName = Literal["env_90", "env_92_5", "env_95", "env_97_5", "env_99", "env_99_5", "env_100"]
SplitName = Literal["train", "unbiased", "generated", EnvironmentName]
FactorName = Literal["shape", "texture", "background"]
SelectionName = Literal["val", "val_unbiased"]  # as biased as the training images; an aid that no user has
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0, le=100_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
# Names become parts of paths and of shell commands in dvc.yaml, so nothing else is let through.
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Compute(_Model):
    """How arithmetic is done; tracked, because it changes the last bits of every result."""

    threads: Annotated[int, Field(ge=1, le=256)]  # torch threads of every stage that computes
    precision: Precision  # of the matrix products in training and prediction


# ---- data sets


class ColoredConfig(_Model):
    """Colored MNIST: the digit's colour says its class, on black (Kim et al. 2019, section 4.1)."""

    color_std: NonNegative  # on colours in [0, 1]
    correlation: Annotated[float, Field(ge=0.1, le=1)]  # P(cue = label) of every cue in the biased splits


class DoubleColoredConfig(_Model):
    """Double-colored MNIST: digit and background colour both say the class (Sauer & Geiger 2021, appendix C.4)."""

    color_std: NonNegative
    binarize_above: Fraction
    correlation: Annotated[float, Field(ge=0.1, le=1)]


class WildlifeConfig(_Model):
    """Wildlife MNIST: a striped digit on a veined background (Sauer & Geiger 2021, appendix C.4)."""

    texture_px: Annotated[int, Field(ge=32, le=2048)]  # textures are resized to this square before cropping
    crop_padding_px: Annotated[int, Field(ge=0, le=31)]  # reflected border around the texture
    binarize_above: Fraction
    correlation: Annotated[float, Field(ge=0.1, le=1)]


DatasetConfig = ColoredConfig | DoubleColoredConfig | WildlifeConfig


class Datasets(_Model):
    """One section per data set variant; the field's name is the data set's name."""

    colored: ColoredConfig
    double_colored: DoubleColoredConfig
    wildlife: WildlifeConfig


# ---- generators


class ImagenetCgnConfig(_Model):
    """The CGN for natural images (Sauer & Geiger 2021, section 3.2 and appendix B); where paper and code differ, a choice."""

    truncation: Annotated[float, Field(gt=0, le=1)]  # of all noise, and of the statistics that maps are normalised by
    effective_batch: Count  # images per optimiser step
    micro_batch: Count  # of these at a time: memory and speed, not the result
    shape_lr: Positive  # Adam
    texture_lr: Positive
    background_lr: Positive
    ema_decay: Fraction  # per optimiser step; 0: the last weights count
    lambda_l1: NonNegative  # of composites against the teacher's images
    content_weights: Annotated[list[NonNegative], Field(min_length=4, max_length=4)]  # the same, of VGG's stages
    style_weights: Annotated[list[NonNegative], Field(min_length=4, max_length=4)]  # likewise, of their Gram matrices
    lambda_binary: NonNegative  # of the mask's entropy in nats
    lambda_size: NonNegative  # of mean masks outside size_range
    size_range: Annotated[list[Fraction], Field(min_length=2, max_length=2)]
    patches_from: Literal["composite", "teacher"]  # what textures are compared with patches of
    texture_weights: Annotated[list[NonNegative], Field(min_length=4, max_length=4)]  # of VGG's Gram matrices
    lambda_background: NonNegative  # of what is salient in backgrounds
    recompute: bool  # activations in the backward pass: less memory, a third more time
    log_every_steps: Count

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> "ImagenetCgnConfig":
        if not self.size_range[0] < self.size_range[1]:
            raise ValueError(f"size_range: found {self.size_range}, expected the lowest and then the highest")
        return self


class CollapseConfig(_Model):
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


class FastCgnConfig(_Model):
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


class AuthorsDatasetConfig(_Model):
    """What the authors of the CGN chose anew for each data set."""

    lambda_binary: NonNegative  # of the mask's entropy in bits
    style_weights: Annotated[list[NonNegative], Field(min_length=4, max_length=4)]  # of VGG's stages, to be squared
    discriminator: Literal["linear", "conv"]
    discriminator_width: Count
    init: Literal["orthogonal", "normal"]  # of the generator's weights
    init_gain: Positive  # the standard deviation, for normal


class AuthorsDatasets(_Model):
    """One section per data set variant; the field's name is the data set's name."""

    colored: AuthorsDatasetConfig
    double_colored: AuthorsDatasetConfig
    wildlife: AuthorsDatasetConfig


class AuthorsCgnConfig(_Model):
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


class CutPasteConfig(_Model):
    """A hand-made baseline: objects cut out of training images by their colours, and pasted together anew."""

    recipe: Literal["cut_paste"]
    images_per_class: Count  # of the training images that are kept
    hard_masks: list[DatasetName]  # as in FastCgnConfig
    sheet_every_steps: Count
    retries: Annotated[int, Field(ge=0, le=20)]
    collapse: CollapseConfig


class GanConfig(_Model):
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


class BetaVaeConfig(_Model):
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


_GENERATOR: TypeAdapter[Any] = TypeAdapter(GeneratorConfig)


# ---- classifiers


class _MethodConfig(_Model):
    """What a classifier learns from: weights of the splits it is shown, `generated` being the counterfactuals."""

    mix: Annotated[dict[SplitName, Weight], Field(min_length=1)]
    label: FactorName = "shape"  # the factor of counterfactuals that is to be told; real images have their one label
    times: Annotated[int, Field(ge=1, le=100)] = 1  # how many of the scale's budgets it trains for
    select: SelectionName | None = None  # the split by whose accuracy one of 20 states is kept; none keeps the last

    @model_validator(mode="after")
    def _label_is_known(self) -> "_MethodConfig":
        if self.label != "shape" and (set(self.mix) - {"train", "generated"} or "generated" not in self.mix):
            raise ValueError(
                f"label: found {self.label!r} for a mix of {', '.join(self.mix)}, expected 'shape': only "
                "counterfactuals, alone or with 'train', show which image has which"
            )
        return self


class _OverSourcesConfig(_MethodConfig):
    """A rule that compares the splits of its mix."""

    @model_validator(mode="after")
    def _has_several(self) -> "_OverSourcesConfig":
        if len(self.mix) < 2:
            raise ValueError(f"mix: found {list(self.mix)}, expected at least two splits to compare")
        return self


class ErmConfig(_MethodConfig):
    """Empirical risk minimisation."""

    rule: Literal["erm"]


class IrmConfig(_OverSourcesConfig):
    """Invariant risk minimisation (Arjovsky et al. 2019); its environments are the splits of the mix."""

    rule: Literal["irm"]
    penalty_weight: NonNegative
    anneal_share: Fraction  # of the steps, during which the penalty's weight is 1


class GroupDroConfig(_OverSourcesConfig):
    """Group distributionally robust optimisation (Sagawa et al. 2020); its groups are the splits of the mix."""

    rule: Literal["group_dro"]
    step_size: Positive  # of the groups' weights


class LntlConfig(_MethodConfig):
    """Learning not to learn (Kim et al. 2019); its bias labels are the image's own colours."""

    rule: Literal["lntl"]
    reversal: NonNegative  # factor of the gradient that reaches the classifier from the colour head
    entropy_weight: NonNegative


class LffConfig(_MethodConfig):
    """Learning from failure (Nam et al. 2020)."""

    rule: Literal["lff"]
    q: Annotated[float, Field(gt=0, le=1)]  # of the biased network's generalised cross entropy
    ema_decay: Fraction  # of an image's remembered losses


MethodConfig = ErmConfig | IrmConfig | GroupDroConfig | LntlConfig | LffConfig


# ---- budgets and sources, per scale


class FetchConfig(_Model):
    """Where digits and textures come from."""

    digits: Literal["bundled", "path", "download"]
    digits_path: str | None  # folder of the four IDX files, for `digits: path`
    textures: Literal["procedural", "path", "download"]
    textures_path: str | None  # folder with object/ and background/, for `textures: path`
    num_validation: Count

    @model_validator(mode="after")
    def _paths_given(self) -> "FetchConfig":
        for kind, source, path in (
            ("digits", self.digits, self.digits_path),
            ("textures", self.textures, self.textures_path),
        ):
            if source == "path" and not path:
                raise ValueError(f"{kind}_path: found nothing, expected a folder, because {kind} is 'path'")
        return self

    @model_validator(mode="after")
    def _validation_leaves_digits_to_train_on(self) -> "FetchConfig":
        step, limit = (10, 4_000) if self.digits == "bundled" else (1, 50_000)
        if self.num_validation % step or self.num_validation >= limit:
            raise ValueError(
                f"num_validation: found {self.num_validation}, expected a multiple of {step} below {limit:,}, "
                f"because digits is {self.digits!r}"
            )
        return self


class BuildConfig(_Model):
    """Which digits the test images are made of."""

    # test: the real MNIST test set; paper_test: MNIST train[50000:], where the paper measured
    test_sets: Annotated[list[Literal["test", "paper_test"]], Field(min_length=1, max_length=2)]


class GeneratorBudget(_Model):
    """How long generators train."""

    num_images: Count  # images seen


def _check_ratio(field: str, cf_ratio: int, limit: str, num_images: int) -> None:
    if cf_ratio > num_images:
        raise ValueError(
            f"{field}: found {cf_ratio}, expected at most {num_images:,}, which is {limit}: as many images share a shape"
        )


class GenerateConfig(_Model):
    """How many counterfactuals are written."""

    num_images: Count
    cf_ratio: Annotated[int, Field(ge=1, le=1000)]  # counterfactuals that share one shape
    images_per_shard: Count

    @model_validator(mode="after")
    def _ratio_fits(self) -> "GenerateConfig":
        for limit in ("num_images", "images_per_shard"):
            _check_ratio("cf_ratio", self.cf_ratio, limit, getattr(self, limit))
        return self


class ClassifierBudget(_Model):
    """How long classifiers train: the same for every method."""

    num_images: Count  # images seen
    batch_size: Count
    lr: Positive  # AdamW, at its peak: after a short warm-up, and falling to zero as a cosine


class ClassifierConfig(_Model):
    """What of the classifiers of shapes is chosen per data set."""

    # Of lr: for what the first layer answers to areas of one colour.
    plain_area_lr_share: dict[DatasetName, Annotated[float, Field(gt=0, le=1)]]

    @model_validator(mode="after")
    def _every_data_set(self) -> "ClassifierConfig":
        if missing := [name for name in Datasets.model_fields if name not in self.plain_area_lr_share]:
            raise ValueError(f"plain_area_lr_share: found none of {', '.join(missing)}, expected one per data set")
        return self


class JudgeBudget(_Model):
    """How long the judges of counterfactuals train, on true factors, but for that of shapes, which takes a classifier's
    budget; they serve the report alone.
    """

    num_images: Count  # images seen


class Scale(_Model):
    """Sources and budgets; never a recipe."""

    fetch: FetchConfig
    build_dataset: BuildConfig
    generator: GeneratorBudget
    generate: GenerateConfig
    classifier: ClassifierBudget
    judge: JudgeBudget

    @model_validator(mode="after")
    def _paper_test_has_digits(self) -> "Scale":
        if "paper_test" in self.build_dataset.test_sets and self.fetch.digits == "bundled":
            raise ValueError(
                "build_dataset.test_sets: found 'paper_test', which needs all 60,000 training digits; "
                "set fetch.digits to 'path' or 'download'"
            )
        return self


class Runtime(_Model):
    """Where and how fast; tracked by `check` alone, because it may not change a byte of any result."""

    stage_timeout_seconds: Positive
    generate_workers: Annotated[int, Field(ge=1, le=256)]
    scratch: Annotated[str, Field(min_length=1)]  # folder for resume states, relative to the project


class SweepConfig(_Model):
    """Figure 7 of the paper: how many counterfactuals, how many of one shape, and how large a share of real images."""

    generators: list[Name]
    num_images: Annotated[list[Count], Field(min_length=1)]
    cf_ratio: Annotated[list[Annotated[int, Field(ge=1, le=1000)]], Field(min_length=1)]
    real_percent: Annotated[list[Annotated[int, Field(ge=0, le=99)]], Field(min_length=1)]

    @model_validator(mode="after")
    def _ratios_fit(self) -> "SweepConfig":
        _check_ratio("cf_ratio", max(self.cf_ratio), "the least of num_images", min(self.num_images))
        return self


class AblateConfig(_Model):
    """Which generators to train again, each with which change."""

    generators: list[Name]
    changes: Annotated[list[Name], Field(min_length=1)]


def changed(config: GeneratorConfig, change: Mapping[str, Any]) -> GeneratorConfig:
    """A generator's configuration with some fields set otherwise.

    Raises: InputError naming the field that no such generator has, or whose value it does not take.
    """
    if found := sorted({"recipe", "retries", "collapse"} & set(change)):
        raise InputError(f"{found[0]}: found {change[found[0]]!r}, expected another field: this one is not ablated")
    if unknown := sorted(set(change) - set(type(config).model_fields)):
        known = ", ".join(sorted(type(config).model_fields))
        raise InputError(f"{unknown[0]}: found an unknown key, allowed: {known}")
    try:
        new: GeneratorConfig = _GENERATOR.validate_python({**config.model_dump(), **change})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "value_error":  # one of our own validators: "field: found ..."
            raise InputError(str(first["ctx"]["error"])) from error
        field = ".".join(str(part) for part in first["loc"][1:]) or "recipe"
        raise InputError(f"{field}: found {first['input']!r}, {first['msg'][0].lower()}{first['msg'][1:]}") from error
    return new


# Folders beside those that are called after generators.
_TAKEN = {
    "real": "the real shards are called",
    "environments": "the environments' shards are called",
    "ablations": "the ablations' folder is called",
}


class Params(_Model):
    """The whole of params.yaml."""

    scale: Literal["demo", "full"]
    seeds: Annotated[list[Seed], Field(min_length=1)]
    datasets_run: Annotated[list[DatasetName], Field(min_length=1)]
    environments: Annotated[list[EnvironmentName], Field(min_length=1)]  # made beside the other splits
    classifiers: list[Name]
    generators: Annotated[list[Name], Field(min_length=1)]  # the first one illustrates the report
    mixes: list[Name]
    sweep: SweepConfig
    ablate: AblateConfig
    imagenet: list[Name]
    datasets: Datasets
    generator: dict[Name, GeneratorConfig]
    ablation: dict[Name, dict[str, Any]]  # what is changed, by the name of the change
    methods: dict[Name, Annotated[MethodConfig, Field(discriminator="rule")]]
    classifier: ClassifierConfig
    scales: dict[Literal["demo", "full"], Scale]
    compute: Compute
    runtime: Runtime

    @model_validator(mode="after")
    def _names_exist(self) -> "Params":
        if self.imagenet:
            raise ValueError(f"imagenet: found {self.imagenet}, expected [], because no ImageNet stage exists yet")
        if not self.classifiers and not self.mixes:
            raise ValueError("classifiers: found [], and [] under `mixes`, expected some experiment")
        for field, names, known in (
            ("classifiers", self.classifiers, self.methods),
            ("mixes", self.mixes, self.methods),
            ("generators", self.generators, self.generator),
            ("sweep.generators", self.sweep.generators, self.generators),
            ("ablate.generators", self.ablate.generators, self.generator),
            ("ablate.changes", self.ablate.changes, self.ablation),
            ("scale", [self.scale], self.scales),
        ):
            for name in names:
                if name not in known:
                    raise ValueError(f"{field}: found {name!r}, allowed: {', '.join(sorted(known))}")
        axes = {
            field: getattr(self, field)
            for field in ("seeds", "datasets_run", "environments", "classifiers", "generators", "mixes")
        }
        axes |= {f"sweep.{field}": values for field, values in self.sweep}
        axes |= {f"ablate.{field}": values for field, values in self.ablate}
        for field, names in axes.items():
            if len(set(names)) < len(names):
                raise ValueError(f"{field}: found {names}, expected every entry once")
        for name in self.generator:  # both would write into one folder
            if other := "a method is called" if name in self.methods else _TAKEN.get(name):
                raise ValueError(f"generator.{name}: found {name!r}, which {other}; choose another name")
        for name in dict.fromkeys([*self.generators, *self.ablate.generators]):
            config = self.generator[name]
            if isinstance(config, AuthorsCgnConfig) and not config.vgg_weights:
                what = f"the path of torchvision's vgg16-397923af.pth, because `generators` or `ablate` lists {name!r}"
                raise ValueError(f"generator.{name}.vgg_weights: found nothing, expected {what}")
        for name in self.classifiers:
            if "generated" in self.methods[name].mix:
                raise ValueError(f"classifiers: found {name!r}, which mixes in generated images; list it under `mixes`")
        for name in self.mixes:
            if "generated" not in self.methods[name].mix:
                raise ValueError(f"mixes: found {name!r}, which uses no generated images; list it under `classifiers`")
        return self

    @model_validator(mode="after")
    def _swept_ratios_fit_a_shard(self) -> "Params":
        if self.sweep.generators:
            limit = f"scales.{self.scale}.generate.images_per_shard"
            per_shard = self.scales[self.scale].generate.images_per_shard
            _check_ratio("sweep.cf_ratio", max(self.sweep.cf_ratio), limit, per_shard)
        return self

    @model_validator(mode="after")
    def _changes_can_be_made(self) -> "Params":
        for generator, change in itertools.product(self.ablate.generators, self.ablate.changes):
            if self.generator[generator].collapse is None:
                raise ValueError(f"ablate.generators: found {generator!r}, which has no masks, expected one with masks")
            try:
                changed(self.generator[generator], self.ablation[change])
            except ValueError as error:
                raise ValueError(f"ablation.{change}.{error}") from error
        return self

    @model_validator(mode="after")
    def _environments_are_made(self) -> "Params":
        for name in self.classifiers:
            used = [split for split in self.methods[name].mix if split in ENVIRONMENTS]
            if missing := [split for split in used if split not in self.environments]:
                raise ValueError(
                    f"classifiers: found {name!r}, which learns from {', '.join(missing)}; add it to `environments`"
                )
        for name in self.mixes:
            if used := [split for split in self.methods[name].mix if split in ENVIRONMENTS]:
                raise ValueError(
                    f"mixes: found {name!r}, which learns from {', '.join(used)}, expected no environments beside "
                    "generated images"
                )
        return self


def load_params(path: Path) -> Params:
    """The validated contents of a params.yaml.

    Raises: ConfigError, one line that names the field, what was found and what is allowed.
    """
    return read_model(path, Params)


def check_params(path: Path) -> Params:
    """As `load_params`; and the files and folders that the chosen scale and generators need are there.

    Raises: ConfigError, likewise.
    """
    params = load_params(path)
    fetch = params.scales[params.scale].fetch
    for kind, source, folder in (
        ("digits", fetch.digits, fetch.digits_path),
        ("textures", fetch.textures, fetch.textures_path),
    ):
        if source == "path" and not Path(str(folder)).is_dir():
            field = f"scales.{params.scale}.fetch.{kind}_path"
            raise ConfigError(
                f"{path}: {field}: found no folder at {folder!r}, expected the one with the {kind}", field
            )
    for name in dict.fromkeys([*params.generators, *params.ablate.generators]):
        if (weights := getattr(params.generator[name], "vgg_weights", None)) and not Path(weights).is_file():
            field = f"generator.{name}.vgg_weights"
            what = "expected VGG16 weights; set it to the path of torchvision's vgg16-397923af.pth"
            raise ConfigError(f"{path}: {field}: found no file at {weights!r}, {what}", field)
    return params
