"""Picture sheets as PNG files, the same bytes on every run: samples, counterfactuals, masks over time, curves."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cgn.contracts import SHEET_PADDING_PX, SHEET_ROWS
from cgn.errors import InputError
from cgn.files import replacing_file
from cgn.mnist import IMAGE_PX, NUM_CLASSES
from cgn.pictures import open_picture
from cgn.shards.manifest import REMEDY

ZOOM, GAP = 3, 8
RETRAIN = "delete the record and run `dvc repro train_generator`"
INK = (128, 128, 128, 255)  # readable on white and on black: the sheets are transparent
SHARES = ("mask_mean", "binary_share", "border_mean", "class_diversity", "class_distance", "class_roughness")
NOT_LOSSES = ("step", "images_seen", *SHARES)


def pick(manifest: pa.Table, *, split: str, per_class: int) -> list[list[Mapping[str, Any]]]:
    """The first rows of each shape class in a split: `per_class` lists of ten rows, classes in order.

    Raises: InputError where a class has fewer images than asked for.
    """
    of_split = manifest.filter(pc.equal(manifest["split"], split))
    columns: list[list[Mapping[str, Any]]] = []
    for number in range(NUM_CLASSES):
        rows = of_split.filter(pc.equal(of_split["shape"], number)).slice(0, per_class).to_pylist()
        if len(rows) < per_class:
            raise InputError(
                f"illustrate: found {len(rows)} images of class {number} in split {split!r}, expected {per_class}; "
                "raise the scale's num_images and run `dvc repro`"
            )
        columns.append(rows)
    return [[column[index] for column in columns] for index in range(per_class)]


def read_tile(folder: Path, row: Mapping[str, Any]) -> Image.Image:
    """The image of a manifest row, read at its offset in the tar: no whole shard is decoded for ten pictures.

    Raises: InputError where there is none.
    """
    path = folder / row["shard"]
    if not path.is_file():
        raise InputError(f"{path} is missing; {REMEDY}")
    with path.open("rb") as file:
        file.seek(row["offset"])
        content = file.read(row["size"])
    return open_picture(content, formats=["PNG"], what=f"{path}: {row['key']}", remedy=REMEDY).convert("RGB")


def factors_text(row: Mapping[str, Any]) -> str:
    """Shape, texture and background class of an image, a middle dot for a factor that the data set has not."""
    parts = (row["shape"], row["texture"], row["background"])
    return " / ".join("·" if part is None or part < 0 else str(part) for part in parts)


def draw_grid(
    tiles: Sequence[Sequence[Image.Image]],
    *,
    row_names: Sequence[str] | None = None,
    captions: Sequence[Sequence[str]] | None = None,
) -> Image.Image:
    """Tiles in rows, enlarged without smoothing, row names to the left and captions beneath; transparent elsewhere."""
    side = IMAGE_PX * ZOOM
    font = ImageFont.load_default(size=17)
    left = max(120, *(int(font.getlength(name)) + 28 for name in row_names)) if row_names else 0
    step_x, step_y = side + GAP, side + GAP + (22 if captions else 0)
    width, height = left + step_x * len(tiles[0]) - GAP, step_y * len(tiles) - GAP
    sheet = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    draw = ImageDraw.Draw(sheet)
    for i, row in enumerate(tiles):
        if row_names:
            draw.text((left - 14, i * step_y + side // 2), row_names[i], fill=INK, font=font, anchor="rm")
        for j, tile in enumerate(row):
            x, y = left + j * step_x, i * step_y
            sheet.paste(tile.resize((side, side), Image.Resampling.NEAREST), (x, y))
            if captions:
                draw.text((x + side // 2, y + side + 13), captions[i][j], fill=INK, font=font, anchor="mm")
    return sheet


def draw_small(grid: UInt8[Tensor, "rows columns 3 height width"]) -> Image.Image:
    """A grid of images as large as they are, side by side: for pages that enlarge it."""
    rows, columns, _, height, width = grid.shape
    return Image.fromarray(grid.permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, 3).numpy())


def draw_pixels(
    grid: UInt8[Tensor, "rows columns 3 height width"], *, row_names: Sequence[str] | None = None
) -> Image.Image:
    """A grid of images, enlarged."""
    tiles = grid.permute(0, 1, 3, 4, 2).contiguous().numpy()
    return draw_grid([[Image.fromarray(tile) for tile in row] for row in tiles], row_names=row_names)


def draw_features(classifiers: Sequence[tuple[str, np.ndarray, Mapping[str, Any]]]) -> Figure:
    """Features of test images in two dimensions, a row per classifier, in the colours of each factor's classes.

    `classifiers` are names, features (batch, 2) and labels by factor.
    """
    factors = list(classifiers[0][2])
    with mpl.rc_context({"font.size": 9, "text.color": "#808080", "axes.labelcolor": "#808080"}):
        size = (2.6 * len(factors), 2.3 * len(classifiers))
        figure = Figure(figsize=size, dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(len(classifiers), len(factors), squeeze=False)
        for row, (label, places, told) in zip(panels, classifiers, strict=True):
            for panel, name in zip(row, factors, strict=True):
                panel.scatter(places[:, 0], places[:, 1], c=np.asarray(told[name]), cmap="tab10", s=3, linewidths=0)
                panel.set(xticks=[], yticks=[], title=f"by {name}")
                for side in panel.spines.values():
                    side.set_color("#808080")
            row[0].set_ylabel(label, fontsize=8)
    return figure


def draw_codes(codes: np.ndarray, labels: Sequence[int]) -> Figure:
    """Images' codes, (batch, at least 2), as dots in the colour of their class."""
    with mpl.rc_context({"font.size": 10, "text.color": "#808080", "axes.labelcolor": "#808080"}):
        figure = Figure(figsize=(5, 4.4), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        panel = figure.subplots()
        dots = panel.scatter(codes[:, 0], codes[:, 1], c=np.asarray(labels), cmap="tab10", s=6, linewidths=0)
        panel.legend(
            *dots.legend_elements(),
            title="class",
            frameon=False,
            fontsize=8,
            loc="center left",
            bbox_to_anchor=(1, 0.5),
        )
        panel.set(xlabel="first number of the code", ylabel="second")
        panel.tick_params(colors="#808080")
    return figure


def draw_samples(manifest: pa.Table, folder: Path) -> Image.Image:
    """Two biased training images per class above two of the same class whose other factors are random."""
    names, tiles = [], []
    for split, name in (("train", "training"), ("unbiased", "unbiased")):
        for index, rows in enumerate(pick(manifest, split=split, per_class=2)):
            names.append("" if index else name)
            tiles.append([read_tile(folder, row) for row in rows])
    return draw_grid(tiles, row_names=names)


def draw_counterfactuals(manifest: pa.Table, folder: Path) -> Image.Image:
    """Three generated images per shape class, with the classes of shape, texture and background beneath."""
    rows = pick(manifest, split="generated", per_class=3)
    tiles = [[read_tile(folder, row) for row in line] for line in rows]
    return draw_grid(tiles, captions=[[factors_text(row) for row in line] for line in rows])


def sheet_row(sheet: Image.Image, name: str) -> list[Image.Image]:
    """The ten tiles of one row of a record sheet.

    Raises: InputError on a sheet of another size.
    """
    step = IMAGE_PX + SHEET_PADDING_PX
    expected = (NUM_CLASSES * step + SHEET_PADDING_PX, len(SHEET_ROWS) * step + SHEET_PADDING_PX)
    if sheet.size != expected:
        raise InputError(f"illustrate: found a record sheet of {sheet.size} pixels, expected {expected}; {RETRAIN}")
    y = SHEET_PADDING_PX + SHEET_ROWS.index(name) * step
    lefts = [SHEET_PADDING_PX + column * step for column in range(NUM_CLASSES)]
    return [sheet.crop((x, y, x + IMAGE_PX, y + IMAGE_PX)) for x in lefts]


def _sheet(path: Path) -> Image.Image:
    return open_picture(path, formats=["PNG"], what=str(path), remedy=RETRAIN).convert("RGB")


def draw_timeline(record: Path, *, max_steps: int = 6) -> Image.Image:
    """The masks of ten fixed noises from the first recorded step to the last, then the last step's images.

    Raises: InputError where the record holds no sheet.
    """
    paths = sorted((record / "sheets").glob("step-[0-9][0-9][0-9][0-9][0-9][0-9].png"))
    if not paths:
        raise InputError(
            f"illustrate: found no sheets/step-*.png in {record}, expected one or more; run `dvc repro train_generator`"
        )
    shown = [paths[round(i)] for i in np.linspace(0, len(paths) - 1, min(max_steps, len(paths)))]
    names, tiles = [], []
    for path in shown:
        names.append(f"step {int(path.stem.removeprefix('step-')):,}")
        tiles.append(sheet_row(_sheet(path), "mask"))
    names.append("composite")
    tiles.append(sheet_row(_sheet(shown[-1]), "composite"))
    return draw_grid(tiles, row_names=names)


def read_scalars(record: Path) -> dict[str, list[float]]:
    """The columns of a record's scalars.csv; columns with an empty field are left out.

    Raises: InputError where it is missing or damaged, or there is no row.
    """
    path = record / "scalars.csv"
    if not path.is_file():
        raise InputError(f"{path} is missing; {RETRAIN}")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, strict=True))
        scalars = {
            name: [float(row[name]) for row in rows] for name in (rows or [{}])[0] if all(row[name] for row in rows)
        }
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise InputError(f"{path} is no table of numbers ({type(error).__name__}: {error}); {RETRAIN}") from error
    if "step" not in scalars:
        raise InputError(f"illustrate: found no rows under a column step in {path}, expected some; {RETRAIN}")
    return scalars


def draw_curves(scalars: Mapping[str, Sequence[float]]) -> Figure:
    """Losses to the left, shares of the mask to the right, over training steps."""
    style: dict[Any, Any] = {
        "font.size": 10,
        "axes.edgecolor": "#808080",
        "axes.labelcolor": "#808080",
        "text.color": "#808080",
        "xtick.color": "#808080",
        "ytick.color": "#808080",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(
            color=["#3b7dd8", "#e0793a", "#3fa66b", "#c74e7b", "#8a6fd1", "#b59a2b", "#4fb0bf", "#999999"]
        ),
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(10, 3.2), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, 2)
        losses = [name for name in scalars if name not in NOT_LOSSES]
        for panel, title, names in zip(panels, ("losses", "mask"), (losses, SHARES), strict=True):
            for name in names:
                if name in scalars:
                    panel.plot(scalars["step"], scalars[name], label=name.replace("_", " "), linewidth=1.4)
            panel.set(title=title, xlabel="step")
            panel.grid(alpha=0.25)
            if panel.lines:
                panel.legend(frameon=False, fontsize=8, ncols=2)
        panels[1].set_ylim(0, 1.02)
    return figure


def save_image(target: Path, image: Image.Image) -> None:
    """Write a sheet as PNG."""
    with replacing_file(target) as beside:
        image.save(beside, format="PNG", optimize=True)


def save_figure(target: Path, figure: Figure) -> None:
    """Write a plot as transparent PNG, without the library's version in it."""
    with replacing_file(target) as beside:
        figure.savefig(beside, format="png", transparent=True, metadata={"Software": None})
