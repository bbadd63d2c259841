"""Pictures of a trained ImageNet CGN, as `illustrate_imagenet` leaves them, for a page that holds its pictures inside."""

import base64
import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from cgn.errors import InputError
from cgn.evaluation.page import fitted_uri

INDEX = "index.json"
_WIDTH_PX = 1320  # wider pictures are made smaller
_TITLES = {
    "layer": "Counterfactuals and their layers",
    "interpolation": "From class to class, mechanism by mechanism",
    "transformation": "One factor after another",
    "walk": "Walks through the noise of one mechanism",
    "failures": "Classes that are known to fail",
}


class Shot(NamedTuple):
    """A picture or a film as a data URI."""

    uri: str
    is_film: bool
    title: str


class Plate(NamedTuple):
    """What is shown under one caption."""

    shots: Sequence[Shot]
    caption: str


class Wall(NamedTuple):
    """What is shown under one heading."""

    title: str
    plates: Sequence[Plate]


def read_gallery(folder: Path) -> list[Wall]:
    """All that a folder's index lists, kind by kind; pictures of the same classes stand together. Films are the MP4s.

    Raises: InputError where the index, or a file that it lists, is missing or something else.
    """
    pictures = [picture for picture in _index(folder) if not picture["file"].endswith(".gif")]
    walls = []
    for kind, title in _TITLES.items():
        of_kind = [picture for picture in pictures if picture["kind"] == kind]
        plates = [_plate(folder, list(some)) for _, some in groupby(of_kind, key=lambda picture: picture["classes"])]
        if plates:
            walls.append(Wall(title, plates))
    return walls


def _index(folder: Path) -> list[Mapping[str, Any]]:
    path = folder / INDEX
    remedy = "delete its folder and run `dvc repro illustrate_imagenet`"
    if not path.is_file():
        raise InputError(f"report_imagenet: found no {path}, expected an index of pictures; {remedy}")
    try:
        pictures = json.loads(path.read_text(encoding="utf-8"))["pictures"]
        names = {"file", "kind", "part", "classes", "caption"}
        if not all(names <= set(picture) and picture["kind"] in _TITLES for picture in pictures):
            raise ValueError(f"expected {', '.join(sorted(names))} of every picture, of the kinds {', '.join(_TITLES)}")
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"report_imagenet: {path} is no index of pictures ({error!r}); {remedy}") from error
    return list(pictures)


def _plate(folder: Path, pictures: Sequence[Mapping[str, Any]]) -> Plate:
    """Pictures of one kind and of the same classes; what their captions say of all of them, after a colon, is said once."""
    shots = [_shot(folder / picture["file"], picture["part"]) for picture in pictures]
    captions = dict.fromkeys(str(picture["caption"]).rpartition(": ")[2] for picture in pictures)
    return Plate(shots, "; ".join(captions))


def _shot(path: Path, title: str) -> Shot:
    if path.suffix != ".mp4":
        return Shot(fitted_uri(path, width=_WIDTH_PX), is_film=False, title=title)
    if not path.is_file():
        raise InputError(f"report_imagenet: found no {path}, expected a film; run `dvc repro illustrate_imagenet`")
    encoded = base64.b64encode(path.read_bytes()).decode("ascii")
    return Shot(f"data:video/mp4;base64,{encoded}", is_film=True, title=title)
