"""The ImageNet sections of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cgn.config.types import Count, Fraction, Model, NonNegative, Positive


class ImagenetCgnConfig(Model):
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
