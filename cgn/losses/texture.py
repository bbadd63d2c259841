"""What a texture is compared with: a grid of patches from where an image shows its object."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from cgn.contracts import Images, Masks


def patch_grid(
    images: Images,
    mask: Masks,
    rngs: Sequence[torch.Generator],
    *,
    working_px: int,
    patch_px: int,
    num_candidates: int,
    grid: int,
) -> Images:
    """Per image a grid x grid square of its patches, drawn from the `num_candidates` places with most object.

    Images (batch, 3, height, width) and masks are looked at `working_px` wide; a place counts by the mask's mean over its
    patch, and of equal places, which hard masks have thousands of, any may come first. Draws are with replacement and come from
    `rngs`, a CPU generator per image. No gradient passes. Of the size of `images`.

    Only the patches that are drawn are ever read: a mean over windows ranks the places, and their pixels are indexed.
    Raises: ValueError where a patch is larger than the working size, candidates are more than places, or generators are not as
    many as images.

    Source: Sauer & Geiger 2021, section 3.2, L_text; sizes as in their repository counterfactual_generative_networks.
    """
    places = working_px - patch_px + 1
    if places < 1 or num_candidates > places**2:
        raise ValueError(
            f"patch_grid: found {num_candidates} candidates among {max(places, 0)} x {max(places, 0)} places, expected at most "
            "as many; give a larger working_px, a smaller patch_px or fewer candidates"
        )
    if len(rngs) != len(images):
        raise ValueError(f"patch_grid: found {len(rngs)} generators, expected {len(images)}, one per image")
    with torch.no_grad():
        small = _resized(images, (working_px, working_px))
        means = F.avg_pool2d(_resized(mask, (working_px, working_px)), patch_px, stride=1).flatten(1)
        draws = [_draw(places**2, num_candidates, grid**2, rng) for rng in rngs]
        order, drawn = (torch.stack(parts).to(images.device) for parts in zip(*draws, strict=True))
        best = means.gather(1, order).topk(num_candidates, dim=1, sorted=False).indices
        chosen = order.gather(1, best).gather(1, drawn)
        patches = _cut_out(small, chosen // places, chosen % places, patch_px)
        return _resized(_laid_out(patches, grid), (images.shape[2], images.shape[3]))


def _draw(num_places: int, num_candidates: int, num_patches: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """An order of the places, which decides among equals, and which of the candidates are taken."""
    return torch.randperm(num_places, generator=rng), torch.randint(num_candidates, (num_patches,), generator=rng)


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size, mode="bicubic", align_corners=False)


def _cut_out(images: Images, rows: Tensor, columns: Tensor, patch_px: int) -> Tensor:
    """Square patches by their upper left corners (batch, num): (batch, num, patch, patch, 3)."""
    offsets = torch.arange(patch_px, device=images.device)
    image = torch.arange(len(images), device=images.device)[:, None, None, None]
    row = (rows[:, :, None] + offsets)[:, :, :, None]
    column = (columns[:, :, None] + offsets)[:, :, None, :]
    return images[image, :, row, column]


def _laid_out(patches: Tensor, grid: int) -> Tensor:
    """Patches side by side, row after row: (batch, 3, grid * patch, grid * patch)."""
    batch, _, patch_px, _, channels = patches.shape
    squares = patches.view(batch, grid, grid, patch_px, patch_px, channels)
    return squares.permute(0, 5, 1, 3, 2, 4).reshape(batch, channels, grid * patch_px, grid * patch_px)
