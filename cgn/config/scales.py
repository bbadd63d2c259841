"""Sources and budgets, per scale: those sections of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cgn.config.datasets import Datasets
from cgn.config.types import Count, DatasetName, Model, Positive


class FetchConfig(Model):
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


class BuildConfig(Model):
    """Which digits the test images are made of."""

    # test: the real MNIST test set; paper_test: MNIST train[50000:], where the paper measured
    test_sets: Annotated[list[Literal["test", "paper_test"]], Field(min_length=1, max_length=2)]


class GeneratorBudget(Model):
    """How long generators train."""

    num_images: Count  # images seen


def check_ratio(field: str, cf_ratio: int, limit: str, num_images: int) -> None:
    """Raises: ValueError where more images are to share a shape than there are at all."""
    if cf_ratio > num_images:
        raise ValueError(
            f"{field}: found {cf_ratio}, expected at most {num_images:,}, which is {limit}: as many images share a shape"
        )


class GenerateConfig(Model):
    """How many counterfactuals are written."""

    num_images: Count
    cf_ratio: Annotated[int, Field(ge=1, le=1000)]  # counterfactuals that share one shape
    images_per_shard: Count

    @model_validator(mode="after")
    def _ratio_fits(self) -> "GenerateConfig":
        for limit in ("num_images", "images_per_shard"):
            check_ratio("cf_ratio", self.cf_ratio, limit, getattr(self, limit))
        return self


class ClassifierBudget(Model):
    """How long classifiers train: the same for every method."""

    num_images: Count  # images seen
    batch_size: Count
    lr: Positive  # AdamW, at its peak: after a short warm-up, and falling to zero as a cosine


class ClassifierConfig(Model):
    """What of the classifiers of shapes is chosen per data set."""

    # Of lr: for what the first layer answers to areas of one colour.
    plain_area_lr_share: dict[DatasetName, Annotated[float, Field(gt=0, le=1)]]

    @model_validator(mode="after")
    def _every_data_set(self) -> "ClassifierConfig":
        if missing := [name for name in Datasets.model_fields if name not in self.plain_area_lr_share]:
            raise ValueError(f"plain_area_lr_share: found none of {', '.join(missing)}, expected one per data set")
        return self


class JudgeBudget(Model):
    """How long the judges of counterfactuals train, on true factors, but for that of shapes, which takes a classifier's
    budget; they serve the report alone.
    """

    num_images: Count  # images seen


class Scale(Model):
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
