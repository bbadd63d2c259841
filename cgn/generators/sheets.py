"""Sheets: what the mechanisms make of fixed noise, one column per class."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cgn.composer import to_pixels
from cgn.contracts import SHEET_PADDING_PX, SHEET_ROWS
from cgn.generators.base import GeneratorTraining, Layers
from cgn.mnist import NUM_CLASSES


def save_sheet_when_due(training: GeneratorTraining, folder: Path) -> None:
    """Save a sheet, named by the step, at the recipe's interval and at the run's end."""
    step = training.step
    if step % training.config.sheet_every_steps == 0 or step == training.num_steps:
        sheet(training.fixed_layers()).save(folder / f"step-{step:06d}.png")


def sheet(layers: Layers) -> Image.Image:
    """The first image of every class: mask, foreground, background and composite, from top to bottom.

    The first ten of `layers` must be of the classes 0 to 9.
    """
    images = {**layers._asdict(), "mask": layers.mask.expand(-1, 3, -1, -1) * 2 - 1, "composite": layers.composite}
    rows = [images[name] for name in SHEET_ROWS]
    tiles = torch.stack([to_pixels(row[:NUM_CLASSES].float()) for row in rows])  # (4, 10, 3, px, px)
    px = tiles.shape[-1]
    step = px + SHEET_PADDING_PX
    canvas = np.zeros((len(rows) * step + SHEET_PADDING_PX, NUM_CLASSES * step + SHEET_PADDING_PX, 3), dtype=np.uint8)
    for row in range(len(rows)):
        for column in range(NUM_CLASSES):
            top, left = row * step + SHEET_PADDING_PX, column * step + SHEET_PADDING_PX
            canvas[top : top + px, left : left + px] = tiles[row, column].permute(1, 2, 0).numpy()
    return Image.fromarray(canvas)
