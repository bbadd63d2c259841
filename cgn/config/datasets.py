"""The data sets' sections of params.yaml."""

from typing import Annotated

from pydantic import Field

from cgn.config.types import Fraction, Model, NonNegative


class ColoredConfig(Model):
    """Colored MNIST: the digit's colour says its class, on black (Kim et al. 2019, section 4.1)."""

    color_std: NonNegative  # on colours in [0, 1]
    correlation: Annotated[float, Field(ge=0.1, le=1)]  # P(cue = label) of every cue in the biased splits


class DoubleColoredConfig(Model):
    """Double-colored MNIST: digit and background colour both say the class (Sauer & Geiger 2021, appendix C.4)."""

    color_std: NonNegative
    binarize_above: Fraction
    correlation: Annotated[float, Field(ge=0.1, le=1)]


class WildlifeConfig(Model):
    """Wildlife MNIST: a striped digit on a veined background (Sauer & Geiger 2021, appendix C.4)."""

    texture_px: Annotated[int, Field(ge=32, le=2048)]  # textures are resized to this square before cropping
    crop_padding_px: Annotated[int, Field(ge=0, le=31)]  # reflected border around the texture
    binarize_above: Fraction
    correlation: Annotated[float, Field(ge=0.1, le=1)]


NO_BACKGROUNDS = ("colored",)  # data sets whose background is no cue and has no class
DatasetConfig = ColoredConfig | DoubleColoredConfig | WildlifeConfig


class Datasets(Model):
    """One section per data set variant; the field's name is the data set's name."""

    colored: ColoredConfig
    double_colored: DoubleColoredConfig
    wildlife: WildlifeConfig
