"""Names, numbers and the kind of model that the sections of params.yaml are made of."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

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


class Model(BaseModel):
    """A section of params.yaml: frozen, every key known, no value turned into another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
