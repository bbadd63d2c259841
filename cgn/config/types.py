"""Names, numbers and the kind of model that the sections of params.yaml are made of."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cgn.errors import InputError

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


Section = TypeVar("Section", bound=Model)
_NEVER_CHANGED = ("recipe", "retries", "collapse")  # what a section is, and what is not part of what it computes


def changed(config: Section, change: Mapping[str, Any]) -> Section:
    """A section with some fields set otherwise, for an ablation.

    Raises: InputError naming the field that no such section has, or whose value it does not take.
    """
    for field in _NEVER_CHANGED:
        if field in change:
            raise InputError(f"{field}: found {change[field]!r}, expected another field: this one is not ablated")
    if unknown := sorted(set(change) - set(type(config).model_fields)):
        known = ", ".join(sorted(type(config).model_fields))
        raise InputError(f"{unknown[0]}: found an unknown key, allowed: {known}")
    try:
        return type(config).model_validate({**config.model_dump(), **change})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "value_error":  # one of our own validators: "field: found ..."
            raise InputError(str(first["ctx"]["error"])) from error
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{field}: found {first['input']!r}, {first['msg'][0].lower()}{first['msg'][1:]}") from error
