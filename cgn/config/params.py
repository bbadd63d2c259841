"""The whole of params.yaml: whether its lists, names and sections fit together, and whether its files are there."""

import itertools
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cgn.config.classifiers import MethodConfig
from cgn.config.datasets import NO_BACKGROUNDS, Datasets
from cgn.config.generators import AuthorsCgnConfig, GeneratorConfig
from cgn.config.imagenet import ImagenetCgnConfig, ImagenetScale, check_weight_files
from cgn.config.imagenet_classifiers import ImagenetMethod, PublishedMethod, TrainingRecipe, needs_generated
from cgn.config.scales import ClassifierConfig, Scale, check_ratio
from cgn.config.types import Count, DatasetName, EnvironmentName, Model, Name, Positive, Precision, Seed, changed
from cgn.mnist import ENVIRONMENTS
from cgn.yaml_files import ConfigError, read_model


class Compute(Model):
    """How arithmetic is done; tracked, because it changes the last bits of every result."""

    threads: Annotated[int, Field(ge=1, le=256)]  # torch threads of every stage that computes
    precision: Precision  # of the matrix products in training and prediction


class WatchConfig(Model):
    """The Inception Score that a training of the ImageNet CGN shows on its way: for the eye, never for a result."""

    every_steps: Annotated[int, Field(ge=0)]  # 0: never
    num_images: Annotated[int, Field(ge=2, le=100_000)]


class Runtime(Model):
    """Where and how fast; tracked by `check` alone, because it may not change a byte of any result."""

    stage_timeout_seconds: Positive  # of the flow `mnist`
    imagenet_stage_timeout_seconds: Positive  # of the flow `imagenet`
    generate_workers: Annotated[int, Field(ge=1, le=256)]
    scratch: Annotated[str, Field(min_length=1)]  # folder for resume states, relative to the project
    watch_inception: WatchConfig


class SweepConfig(Model):
    """Figure 7 of the paper: how many counterfactuals, how many of one shape, and how large a share of real images."""

    generators: list[Name]
    num_images: Annotated[list[Count], Field(min_length=1)]
    cf_ratio: Annotated[list[Annotated[int, Field(ge=1, le=1000)]], Field(min_length=1)]
    real_percent: Annotated[list[Annotated[int, Field(ge=0, le=99)]], Field(min_length=1)]

    @model_validator(mode="after")
    def _ratios_fit(self) -> "SweepConfig":
        check_ratio("cf_ratio", max(self.cf_ratio), "the least of num_images", min(self.num_images))
        return self


class AblateConfig(Model):
    """Which generators to train again, each with which change."""

    generators: list[Name]
    changes: Annotated[list[Name], Field(min_length=1)]


# Folders beside those that are called after generators.
_TAKEN = {
    "real": "the real shards are called",
    "environments": "the environments' shards are called",
    "ablations": "the ablations' folder is called",
}


class Params(Model):
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
    imagenet: list[Name]  # scales of the ImageNet road; none is made where it is empty
    imagenet_recipes: Annotated[list[Name], Field(min_length=1)]
    imagenet_changes: Annotated[list[Name], Field(min_length=1)]
    imagenet_classifiers: list[Name]  # of `imagenet_methods`, without a generator
    imagenet_mixes: list[Name]  # with one: each with every recipe and change
    datasets: Datasets
    generator: dict[Name, GeneratorConfig]
    ablation: dict[Name, dict[str, Any]]  # what is changed, by the name of the change
    methods: dict[Name, Annotated[MethodConfig, Field(discriminator="rule")]]
    classifier: ClassifierConfig
    scales: dict[Literal["demo", "full"], Scale]
    imagenet_cgn: dict[Name, ImagenetCgnConfig]
    imagenet_ablation: dict[Name, dict[str, Any]]  # what is changed of a recipe, by the name of the change
    imagenet_training: dict[Name, TrainingRecipe]
    imagenet_methods: dict[Name, ImagenetMethod]
    imagenet_scales: dict[Name, ImagenetScale]
    compute: Compute
    runtime: Runtime

    @model_validator(mode="after")
    def _names_exist(self) -> "Params":
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
            ("imagenet", self.imagenet, self.imagenet_scales),
            ("imagenet_recipes", self.imagenet_recipes, self.imagenet_cgn),
            ("imagenet_changes", self.imagenet_changes, self.imagenet_ablation),
            ("imagenet_classifiers", self.imagenet_classifiers, self.imagenet_methods),
            ("imagenet_mixes", self.imagenet_mixes, self.imagenet_methods),
        ):
            for name in names:
                if name not in known:
                    raise ValueError(f"{field}: found {name!r}, allowed: {', '.join(sorted(known))}")
        axes = {
            field: getattr(self, field)
            for field in (
                "seeds",
                "datasets_run",
                "environments",
                "classifiers",
                "generators",
                "mixes",
                "imagenet",
                "imagenet_recipes",
                "imagenet_changes",
                "imagenet_classifiers",
                "imagenet_mixes",
            )
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
    def _data_sets_have_what_is_told(self) -> "Params":
        plain = [name for name in self.datasets_run if name in NO_BACKGROUNDS]
        for name in self.mixes:
            if plain and self.methods[name].label == "background":
                raise ValueError(
                    f"mixes: found {name!r}, which tells backgrounds, beside {', '.join(plain)} in `datasets_run`, whose "
                    "background has no class; take one of the two off its list"
                )
        return self

    @model_validator(mode="after")
    def _imagenet_methods_can_be_trained(self) -> "Params":
        for name, method in self.imagenet_methods.items():
            if not isinstance(method, PublishedMethod) and method.recipe not in self.imagenet_training:
                known = ", ".join(sorted(self.imagenet_training))
                raise ValueError(f"imagenet_methods.{name}.recipe: found {method.recipe!r}, allowed: {known}")
        for name in self.imagenet_classifiers:
            if needs_generated(self.imagenet_methods[name]):
                raise ValueError(
                    f"imagenet_classifiers: found {name!r}, which learns from generated images; list it under `imagenet_mixes`"
                )
        for name in self.imagenet_mixes:
            if not needs_generated(self.imagenet_methods[name]):
                raise ValueError(
                    f"imagenet_mixes: found {name!r}, which uses no generated images; list it under `imagenet_classifiers`"
                )
        for scale, name in itertools.product(self.imagenet, [*self.imagenet_classifiers, *self.imagenet_mixes]):
            method = self.imagenet_methods[name]
            if "stylized" in getattr(method, "mix", ()) and self.imagenet_scales[scale].sets.stylized_train is None:
                raise ValueError(
                    f"imagenet_scales.{scale}.sets.stylized_train: found nothing, expected Stylized-ImageNet's folder, because "
                    f"{name!r} learns from it; or take {name!r} off the lists"
                )
        return self

    @model_validator(mode="after")
    def _swept_ratios_fit_a_shard(self) -> "Params":
        if self.sweep.generators:
            limit = f"scales.{self.scale}.generate.images_per_shard"
            per_shard = self.scales[self.scale].generate.images_per_shard
            check_ratio("sweep.cf_ratio", max(self.sweep.cf_ratio), limit, per_shard)
        return self

    @model_validator(mode="after")
    def _shared_shapes_are_of_generators_that_have_shapes(self) -> "Params":
        made = (f"scales.{self.scale}.generate.cf_ratio", self.scales[self.scale].generate.cf_ratio, self.generators)
        swept = ("sweep.cf_ratio", max(self.sweep.cf_ratio), self.sweep.generators)
        for field, cf_ratio, generators in (made, swept):
            without = [name for name in generators if self.generator[name].collapse is None]
            if cf_ratio > 1 and without:
                raise ValueError(
                    f"{field}: found {cf_ratio}, expected 1 for {', '.join(without)}: without mechanisms, images of one shape are copies"
                )
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
        for recipe, change in itertools.product(self.imagenet_recipes, self.imagenet_changes):
            try:
                changed(self.imagenet_cgn[recipe], self.imagenet_ablation[change])
            except ValueError as error:
                raise ValueError(f"imagenet_ablation.{change}.{error}") from error
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
    for name in params.imagenet:
        has_classifiers = bool(params.imagenet_classifiers or params.imagenet_mixes)
        check_weight_files(params.imagenet_scales[name], name, path, has_classifiers=has_classifiers)
    return params
