"""Time and memory of the texture loss's patch grid, beside one that unfolds every patch of an image, as the CGN's authors do.

One image of 256 px, in float32. Usage: python -m benchmarks.texture_patches
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.common import prepare, report, seconds, summary
from cgn.losses.texture import patch_grid
from cgn.rng import stream

_WORKING_PX, _PATCH_PX, _CANDIDATES, _GRID = 128, 15, 100, 6


def unfolded_patch_grid(images: Tensor, mask: Tensor, rng: torch.Generator) -> Tensor:
    """The same grids, from all patches of the mask and all patches of the image, image by image."""
    grids = []
    for image, prior in zip(images, mask, strict=True):
        patches, priors = _all_patches(_resized(image)), _all_patches(_resized(prior))
        best = priors.mean((1, 2, 3)).argsort()[-_CANDIDATES:]
        chosen = patches[best[torch.randint(_CANDIDATES, (_GRID**2,), generator=rng)]]
        rows = [torch.cat(list(chosen[start : start + _GRID]), 2) for start in range(0, _GRID**2, _GRID)]
        grid = torch.cat(rows, 1)[None]
        grids.append(F.interpolate(grid, images.shape[2:], mode="bicubic", align_corners=False))
    return torch.cat(grids)


def _resized(image: Tensor) -> Tensor:
    return F.interpolate(image[None], (_WORKING_PX, _WORKING_PX), mode="bicubic", align_corners=False)[0]


def _all_patches(image: Tensor) -> Tensor:
    """Every square of an image (channels, height, width), copied: (places, channels, patch, patch)."""
    patches = image.unfold(1, _PATCH_PX, 1).unfold(2, _PATCH_PX, 1)
    return patches.flatten(1, 2).transpose(0, 1).contiguous()


def indexed_patch_grid(images: Tensor, mask: Tensor, rng: torch.Generator) -> Tensor:
    """The product's."""
    sizes = {"working_px": _WORKING_PX, "patch_px": _PATCH_PX, "num_candidates": _CANDIDATES, "grid": _GRID}
    return patch_grid(images, mask, [rng] * len(images), **sizes)


_KINDS: dict[str, Callable[..., Tensor]] = {"indexed": indexed_patch_grid, "unfolded": unfolded_patch_grid}


def _inputs() -> tuple[Tensor, Tensor]:
    image = torch.rand(1, 3, 256, 256, generator=stream(0, "image")) * 2 - 1
    line = torch.linspace(-1, 1, 256)
    disc = torch.sigmoid(6 * (0.5 - ((line[:, None] - 0.2) ** 2 + line**2).sqrt()))
    return image, disc[None, None]


def _mebibytes_of(kind: str) -> float:
    """How far one grid raises the memory of a process of its own beyond what it had before."""
    command = [sys.executable, "-m", "benchmarks.texture_patches", "--memory-of", kind]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def _print_memory(kind: str) -> None:
    """Mebibytes, from what Linux keeps of this process's highest use; it is set back first."""
    image, mask = _inputs()
    _resized(image[0])  # what the first resizing allocates belongs to neither
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _highest_use()
    _KINDS[kind](image, mask, stream(0))
    print((_highest_use() - before) / 1024)


def _highest_use() -> int:
    """Kibibytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    """Measure both by turns and print the ratios."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeats", type=int, default=20)
    options.add_argument("--memory-of", choices=list(_KINDS), help=argparse.SUPPRESS)
    args = options.parse_args()
    prepare()
    if args.memory_of:
        _print_memory(args.memory_of)
        return
    image, mask = _inputs()
    times: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    for repeat in range(args.repeats + 1):
        for kind, work in _KINDS.items():
            taken = seconds(lambda work=work, repeat=repeat: work(image, mask, stream(repeat)))  # type: ignore[misc]
            if repeat:  # the first warms up
                times[kind].append(taken * 1000)
    memory = {kind: round(_mebibytes_of(kind), 1) for kind in _KINDS}
    milliseconds = {kind: summary(values) for kind, values in times.items()}
    report(
        "texture_patches",
        milliseconds=milliseconds,
        times_faster=round(milliseconds["unfolded"]["median"] / milliseconds["indexed"]["median"], 1),
        mebibytes=memory,
        times_less_memory=round(memory["unfolded"] / max(memory["indexed"], 0.1), 1),
    )


if __name__ == "__main__":
    main()
