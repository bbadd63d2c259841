"""A trained generator: the network that its recipe names, with its weights, what its counterfactuals keep, and these."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import TypeAdapter, ValidationError

from cgn.checkpoints import Checkpoint, check_origin, load_checkpoint, load_into
from cgn.config import FastCgnConfig, GeneratorConfig, Precision
from cgn.contracts import Factors, Pixels
from cgn.errors import InputError
from cgn.generators import GENERATORS, Generator
from cgn.generators.colours import PlainColours, plain_colours
from cgn.generators.counterfactuals import Originals, counterfactuals, draw_originals, num_shapes
from cgn.shards import check_name, read_split


def load_generator(path: Path, *, dataset: str, seed: int) -> tuple[Generator, GeneratorConfig]:
    """The generator of a checkpoint file, and how it was trained.

    Raises: InputError where the file is no generator's, was trained on another data set or with another seed, or this version
    knows no such recipe.
    """
    checkpoint = load_checkpoint(path, kind="generator")
    check_origin(checkpoint, path, dataset=dataset, seed=seed)
    config = _recipe_of(checkpoint, path)
    generator = GENERATORS[config.recipe].network(config)
    load_into(generator, checkpoint.tensors, path)
    generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return generator, config


class Kept(NamedTuple):
    """What counterfactuals take from training images: shapes, per part, and the colours of plain layers."""

    originals: list[Originals | None]
    colours: PlainColours | None


def keeps_shapes(config: GeneratorConfig) -> bool:
    """Whether counterfactuals of a generator have the shapes of training images."""
    return isinstance(config, FastCgnConfig) and config.shapes == "inferred"


def kept_of(
    real: Path,
    generator: Generator,
    config: GeneratorConfig,
    *,
    dataset: str,
    parts: Sequence[int],
    cf_ratio: int,
    precision: Precision,
    seed: int,
    split: str = "train",
) -> Kept:
    """What counterfactuals take from the images of a biased split, for parts of so many images: colours where the generator
    has learned to infer masks, and shapes too unless these are drawn.

    Raises: InputError where `real` holds another data set's shards.
    """
    check_name(real, dataset)
    if not (isinstance(config, FastCgnConfig) and config.inference_after_share < 1):
        return Kept([None] * len(parts), None)
    pixels, labels = read_split(real, split)[:2]
    colours = plain_colours(generator, pixels, labels, precision=precision)
    if not keeps_shapes(config):
        return Kept([None] * len(parts), colours)
    counts = [num_shapes(part, cf_ratio) for part in parts]
    rows = draw_originals(len(labels), sum(counts), seed=seed).split(counts)
    return Kept([Originals(pixels[some], labels[some]) for some in rows], colours)


def counterfactuals_of(
    generator: Generator,
    config: GeneratorConfig,
    *,
    real: Path,
    dataset: str,
    parts: Sequence[int],
    cf_ratio: int,
    precision: Precision,
    seed: int,
    split: str = "train",
    first_shard: int = 0,
) -> tuple[Pixels, Factors]:
    """The counterfactuals of all parts, one after another: those of the shards from `first_shard` on, with what they keep of a
    biased split. Raises: InputError as `kept_of` does.
    """
    originals, colours = kept_of(
        real,
        generator,
        config,
        dataset=dataset,
        parts=parts,
        cf_ratio=cf_ratio,
        precision=precision,
        seed=seed,
        split=split,
    )
    drawn = [
        counterfactuals(
            generator,
            num_images,
            originals=some,
            colours=colours,
            cf_ratio=cf_ratio,
            hard_masks=dataset in config.hard_masks,
            precision=precision,
            seed=seed,
            shard_index=first_shard + index,
        )
        for index, (num_images, some) in enumerate(zip(parts, originals, strict=True))
    ]
    factors = [torch.cat(labels) for labels in zip(*(factors for _, factors in drawn), strict=True)]
    return torch.cat([pixels for pixels, _ in drawn]), Factors(*factors)


def _recipe_of(checkpoint: Checkpoint, path: Path) -> GeneratorConfig:
    """The recipe by which a generator was trained.

    Raises: InputError where this version knows no such recipe.
    """
    found = checkpoint.config.get("generator")
    try:
        config: GeneratorConfig = TypeAdapter(GeneratorConfig).validate_python(found)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = found.get("recipe") if isinstance(found, dict) else None
        raise InputError(
            f"{path}: found recipe {name!r} with {'.'.join(str(part) for part in fault['loc']) or 'itself'} at fault, "
            f"allowed: {', '.join(sorted(GENERATORS))} as this version configures them; delete it and run `dvc repro`"
        ) from error
    return config
