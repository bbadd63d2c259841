"""Facts about the pictures of the report."""

import json
import tarfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from cgn.evaluation import figures
from cgn.mnist import NUM_CLASSES
from cgn.schemas import MANIFEST_SCHEMA


def shard_folder(folder: Path, splits: Sequence[str], *, per_class: int) -> pa.Table:
    """A shard set of flat images whose red value is ten times the class."""
    folder.mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    for split in splits:
        shard = f"x-{split}-000000.tar"
        with tarfile.open(folder / shard, "w") as tar:
            for index in range(NUM_CLASSES * per_class):
                number = index % NUM_CLASSES
                png = BytesIO()
                Image.new("RGB", (32, 32), (10 * number, 0, 0)).save(png, "PNG")
                info = tarfile.TarInfo(f"x-{split}-{index:08d}.png")
                info.size = len(png.getvalue())
                offset = tar.offset + 512
                tar.addfile(info, BytesIO(png.getvalue()))
                rows.append(
                    {
                        "key": info.name[:-4],
                        "split": split,
                        "shard": shard,
                        "offset": offset,
                        "size": info.size,
                        "label": number,
                        "shape": number,
                        "texture": (number + 1) % 10,
                        "background": None,
                        "low_contrast": False,
                        "seed": 0,
                        "index": index,
                    }
                )
    return pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)


def record_folder(folder: Path) -> Path:
    (folder / "sheets").mkdir(parents=True)
    for step in (0, 100, 200):
        sheet = np.zeros((4 * 34 + 2, 10 * 34 + 2, 3), np.uint8)
        for row in range(4):
            sheet[2 + 34 * row : 34 * (row + 1), :] = 50 * (row + 1)
        Image.fromarray(sheet).save(folder / "sheets" / f"step-{step:06d}.png")
    header = "step,loss_d,loss_g,mask_mean,binary_share,border_mean\n"
    text = header + "0,3,2,.5,.1,.2\n50,2,1,.3,.9,.1\n"
    (folder / "scalars.csv").write_text(text)
    (folder / "record.json").write_text(json.dumps({"attempts": 2, "images_seen": 60000}))
    return folder


def test_a_tile_is_read_at_its_offset(tmp_path: Path) -> None:
    manifest = shard_folder(tmp_path / "real", ["train"], per_class=2)
    rows = figures.pick(manifest, split="train", per_class=2)
    assert [[figures.read_tile(tmp_path / "real", row).getpixel((0, 0)) for row in line] for line in rows] == [
        [(10 * number, 0, 0) for number in range(10)]
    ] * 2


def test_a_missing_class_is_named(tmp_path: Path) -> None:
    manifest = shard_folder(tmp_path / "real", ["train"], per_class=1)
    with pytest.raises(ValueError, match=r"found 1 images of class 0 in split 'train', expected 2"):
        figures.pick(manifest, split="train", per_class=2)


def test_factors_without_background_show_a_dot() -> None:
    assert figures.factors_text({"shape": 7, "texture": 3, "background": 5}) == "7 / 3 / 5"
    assert figures.factors_text({"shape": 7, "texture": 3, "background": None}) == "7 / 3 / ·"


def test_record_sheets_are_cut_into_rows(tmp_path: Path) -> None:
    sheet = Image.open(record_folder(tmp_path / "record") / "sheets" / "step-000100.png")
    for row, name in enumerate(figures.SHEET_ROWS):
        tiles = figures.sheet_row(sheet, name)
        assert [tile.getextrema() for tile in tiles] == [((50 * (row + 1),) * 2,) * 3] * 10
    with pytest.raises(ValueError, match=r"found a record sheet of \(64, 64\) pixels, expected \(342, 138\)"):
        figures.sheet_row(sheet.resize((64, 64)), "mask")


def test_curves_are_read_by_column(tmp_path: Path) -> None:
    scalars = figures.read_scalars(record_folder(tmp_path / "record"))
    assert scalars["step"] == [0, 50]
    assert scalars["loss_d"] == [3, 2]


def test_an_empty_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scalars.csv").write_text("step,loss\n")
    with pytest.raises(ValueError, match="no rows under a column step"):
        figures.read_scalars(tmp_path)
    with pytest.raises(ValueError, match=r"found no sheets/step-\*\.png"):
        figures.draw_timeline(tmp_path)


def test_the_illustrate_stage_writes_the_same_bytes_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stages import illustrate as stage  # noqa: PLC0415

    manifests = {
        tmp_path / "real": shard_folder(tmp_path / "real", ["train", "unbiased"], per_class=2),
        tmp_path / "generated": shard_folder(tmp_path / "generated", ["generated"], per_class=3),
    }
    monkeypatch.setattr(stage, "read_manifest", manifests.__getitem__)
    monkeypatch.setattr(stage, "name_of", lambda _: "colored")
    record = record_folder(tmp_path / "record")
    for name in ("one", "two"):
        paths = {
            "real": tmp_path / "real",
            "generated": tmp_path / "generated",
            "record": record,
            "out": tmp_path / name,
        }
        stage.main(["--dataset", "colored", *[text for key, path in paths.items() for text in (f"--{key}", str(path))]])
    written = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert set(written) == {"samples.png", "counterfactuals.png", "timeline.png", "curves.png", "record.json"}
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()}
