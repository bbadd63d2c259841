"""Pictures side by side with captions, in the font that Pillow brings along."""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cgn.contracts import SHEET_PADDING_PX, Pixels

Tile = UInt8[Tensor, "3 height width"]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_MIN_FONT_PX = 10
_TILES_PER_FONT = 16  # a tile is so many times as wide as its captions' letters are high


def captioned_grid(rows: Sequence[tuple[str, Pixels]], columns: Sequence[str]) -> Image.Image:
    """A sheet with a caption left of every row and above every column; all rows have an image per column."""
    height, width = rows[0][1].shape[2:]
    font = _font(width)
    above = [_wrapped(text, font, width) for text in columns]
    beside = [_wrapped(text, font, 2 * width) for text, _ in rows]
    top = max(_size(text, font)[1] for text in above) + 2 * SHEET_PADDING_PX
    left = max(_size(text, font)[0] for text in beside) + 3 * SHEET_PADDING_PX
    across, down = width + SHEET_PADDING_PX, height + SHEET_PADDING_PX
    canvas = Image.new("RGB", (left + len(columns) * across, top + len(rows) * down), _WHITE)
    draw = ImageDraw.Draw(canvas)
    for column, text in enumerate(above):
        place = (left + column * across + width // 2, top - SHEET_PADDING_PX)
        draw.multiline_text(place, text, _BLACK, font, anchor="md", align="center")
    for row, (text, (_, tiles)) in enumerate(zip(beside, rows, strict=True)):
        place = (left - 2 * SHEET_PADDING_PX, top + row * down + height // 2)
        draw.multiline_text(place, text, _BLACK, font, anchor="rm", align="right")
        for column, tile in enumerate(tiles):
            canvas.paste(to_image(tile), (left + column * across, top + row * down))
    return canvas


def captioned_strip(tiles: Pixels, captions: Sequence[str]) -> Image.Image:
    """One row with an arrow from every image to the next, and a caption below each."""
    height, width = tiles.shape[2:]
    font, gap = _font(width), width // 3
    below = [_wrapped(text, font, width + gap - 2 * SHEET_PADDING_PX) for text in captions]
    text_height = max(_size(text, font)[1] for text in below)
    margin = gap // 2  # captions are wider than their images
    size = (2 * margin + len(tiles) * (width + gap) - gap, height + text_height + 4 * SHEET_PADDING_PX)
    canvas = Image.new("RGB", size, _WHITE)
    draw = ImageDraw.Draw(canvas)
    for place, (tile, text) in enumerate(zip(tiles, below, strict=True)):
        left = margin + place * (width + gap)
        canvas.paste(to_image(tile), (left, SHEET_PADDING_PX))
        below_tile = (left + width // 2, height + 3 * SHEET_PADDING_PX)
        draw.multiline_text(below_tile, text, _BLACK, font, anchor="ma", align="center")
        if place:
            _arrow(draw, left - gap, left, SHEET_PADDING_PX + height // 2)
    return canvas


def to_image(pixels: Tile) -> Image.Image:
    """Pixels as a picture."""
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def _arrow(draw: ImageDraw.ImageDraw, start: int, end: int, y: int) -> None:
    """From left to right, across most of a gap."""
    gap = end - start
    start, end, head = start + gap // 6, end - gap // 6, max(3, gap // 5)
    draw.line((start, y, end - head, y), _BLACK, width=max(1, gap // 16))
    draw.polygon([(end, y), (end - head, y - head // 2), (end - head, y + head // 2)], _BLACK)


def _font(tile_width: int) -> Font:
    return ImageFont.load_default(max(_MIN_FONT_PX, tile_width // _TILES_PER_FONT))


def _wrapped(text: str, font: Font, width: int) -> str:
    """Lines that are no wider, as far as there are spaces and hyphens to break at."""
    lines = [""]
    for word in re.findall(r"[^\s-]+-?\s*", text):
        if lines[-1] and font.getlength((lines[-1] + word).rstrip()) > width:
            lines.append("")
        lines[-1] += word
    return "\n".join(line.rstrip() for line in lines)


def _size(text: str, font: Font) -> tuple[int, int]:
    """Width and height of lines, rounded up."""
    box = ImageDraw.Draw(Image.new("RGB", (1, 1))).multiline_textbbox((0, 0), text, font)
    return int(np.ceil(box[2])), int(np.ceil(box[3]))
