"""What the stages of the ImageNet road share: its networks on the device that there is, and a trained CGN."""

from pathlib import Path
from typing import Any

import torch

from cgn.checkpoints import FILE_NAME, Checkpoint, load_checkpoint, load_into
from cgn.config import ImagenetCgnConfig, ImagenetNetworks
from cgn.errors import InputError
from cgn.files import sha256
from cgn.generators.imagenet_cgn import MECHANISMS, REFINER, ImagenetCgn
from cgn.models.pretrained import KINDS, load_network, new_network
from cgn.models.refiner import Refiner
from cgn.models.u2net import for_inference
from cgn.rng import stream
from cgn.training import seeded
from stages.devices import device

CHECKPOINT_KIND = "imagenet_cgn"


def weights_digest(weights: Path) -> str:
    """The SHA-256 of every file that fetch_weights wrote, one after another."""
    return ",".join(sha256(weights / f"{kind}.safetensors") for kind in KINDS)


def new_cgn(weights: Path, networks: ImagenetNetworks, recipe: ImagenetCgnConfig, *, seed: int) -> ImagenetCgn:
    """The CGN as training begins: every mechanism is the generator that fetch_weights wrote."""
    mechanisms = {name: load_network("biggan", weights, networks) for name in MECHANISMS}
    return _assembled(mechanisms, weights, networks, recipe, seed=seed)


def _assembled(
    mechanisms: dict[str, Any], weights: Path, networks: ImagenetNetworks, recipe: ImagenetCgnConfig, *, seed: int
) -> ImagenetCgn:
    """The CGN with the saliency network that fetch_weights wrote, and an untrained refiner where the recipe has one."""
    saliency = for_inference(load_network("saliency", weights, networks))
    refiner = None
    if (config := recipe.refiner) is not None:
        refiner = seeded(stream(seed, REFINER).initial_seed(), lambda: Refiner(config.width))
    cgn = ImagenetCgn(mechanisms, saliency, truncation=recipe.truncation, refiner=refiner)
    return cgn.to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def frozen(kind: str, weights: Path, networks: ImagenetNetworks) -> Any:
    """A network that fetch_weights wrote, frozen, for inference."""
    return load_network(kind, weights, networks).requires_grad_(False).eval().to(device())


def load_cgn(folder: Path, weights: Path, networks: ImagenetNetworks, *, seed: int) -> tuple[ImagenetCgn, Checkpoint]:
    """A trained CGN, and its checkpoint.

    Raises: InputError where the checkpoint is missing, damaged, of another seed, of other networks, or was trained from other weights
    than those of `weights`.
    """
    path = folder / FILE_NAME
    checkpoint = load_checkpoint(path, kind=CHECKPOINT_KIND)
    for name, expected in (("seed", seed), ("networks", networks.model_dump())):
        if (found := checkpoint.config.get(name)) != expected:
            raise InputError(f"{path}: found {name} {found!r}, expected {expected!r}; delete it and run `dvc repro`")
    if checkpoint.trained_on != weights_digest(weights):
        raise InputError(f"{path}: found a CGN trained from other weights than those in {weights}; run `dvc repro`")
    mechanisms = {name: new_network("biggan", networks) for name in MECHANISMS}
    recipe = ImagenetCgnConfig.model_validate(checkpoint.config["recipe"])
    cgn = _assembled(mechanisms, weights, networks, recipe, seed=seed)
    load_into(cgn.trained, checkpoint.tensors, path)
    cgn.eval().requires_grad_(False)
    cgn.refresh()
    return cgn, checkpoint
