"""Pictures of the ImageNet CGN at scale `tiny`."""

import json
from collections import Counter
from pathlib import Path

from imagenet_road import Road, params_with

from stages import (
    illustrate_imagenet,
)


def illustrate(params: Path, road: Road, out: Path) -> None:
    paths = ["--weights", str(road.weights), "--checkpoint", str(road.checkpoint), "--out", str(out)]
    illustrate_imagenet.main(["--params", str(params), "--scale", "tiny", "--seed", "0", *paths])


def test_an_index_lists_every_picture_with_its_kind_and_classes(road: Road) -> None:
    index = json.loads((road.sheets / "index.json").read_text(encoding="utf-8"))
    assert (index["biggan"], index["trained_for_steps"], index["size_px"]) == ("random", 3, 64)
    listed = [picture["file"] for picture in index["pictures"]]
    files = {path.relative_to(road.sheets).as_posix() for path in road.sheets.rglob("*") if path.is_file()}
    assert sorted(listed) == sorted(files - {"index.json"})
    kinds = Counter(picture["kind"] for picture in index["pictures"])
    assert kinds == {"layer": 5, "interpolation": 1, "walk": 6, "transformation": 3, "failures": 1}
    for picture in index["pictures"]:
        assert picture["caption"]
        assert picture["kind"] == "failures" or "-".join(map(str, picture["classes"])) in picture["file"]


def test_the_same_checkpoint_gives_the_same_pictures(road: Road, tmp_path: Path) -> None:
    illustrate(params_with(tmp_path), road, tmp_path / "sheets")
    files = [path for path in sorted(road.sheets.rglob("*")) if path.is_file()]
    assert len(files) == 17
    for path in files:
        assert (tmp_path / "sheets" / path.relative_to(road.sheets)).read_bytes() == path.read_bytes(), path.name


def test_pictures_do_not_depend_on_which_others_are_drawn(road: Road, tmp_path: Path) -> None:
    changes: dict[str, object] = {"layers": [[1, 2, 3], [425, 949, 974]], "transformations": []}
    changes = {f"illustrate__{name}": value for name, value in changes.items()}
    illustrate(params_with(tmp_path, **changes, illustrate__films__classes=[]), road, tmp_path / "sheets")
    found = [path for path in sorted((tmp_path / "sheets").rglob("*")) if path.is_file()]
    assert len(found) == 13
    for name in ("layers/425-949-974/composite.png", "interpolations/425-947/sheet.png", "failures/draw-1.png"):
        assert (tmp_path / "sheets" / name).read_bytes() == (road.sheets / name).read_bytes()
