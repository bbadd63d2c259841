"""Reading a trained generator: the network that its recipe names, with its weights."""

from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError

from cgn.checkpoints import Checkpoint, load_checkpoint, load_into
from cgn.config import GeneratorConfig
from cgn.errors import InputError
from cgn.generators import GENERATORS, Generator


def load_generator(path: Path) -> tuple[Generator, GeneratorConfig]:
    """The generator of a checkpoint file, and how it was trained.

    Raises: InputError where the file is no generator's, or this version knows no such recipe.
    """
    checkpoint = load_checkpoint(path, kind="generator")
    config = recipe_of(checkpoint, path)
    generator = GENERATORS[config.recipe].network(config)
    load_into(generator, checkpoint.tensors, path)
    generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return generator, config


def recipe_of(checkpoint: Checkpoint, path: Path) -> GeneratorConfig:
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
