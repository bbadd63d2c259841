"""What `explain_imagenet` wrote: which classes heads name, and how much of their attribution falls on the object."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cgn.config import Params
from cgn.errors import InputError
from cgn.evaluation import tables
from cgn.evaluation.imagenet_classifier_runs import Classifier, label, listed
from cgn.evaluation.imagenet_tables import OURS, Cell, Row, Table

EXPLAINED = "explained.json"
VARIANTS = ("original", "mixed_rand")  # of ImageNet-9, whose images are explained
EXPLAINER_NAMES = {"grad_cam": "Grad-CAM", "occlusion": "occlusion", "lime": "LIME"}
VARIANT_NAMES = {"original": "IN-9", "mixed_rand": "Mixed-Rand"}
MAX_CASES = 6  # of a variant, that a page shows


class HeadSaid(NamedTuple):
    """What one head says of one image."""

    classifier: str
    head: str
    answers: Sequence[tuple[str, str]]  # classes and percent, the likeliest first
    right: bool
    shares: Sequence[tuple[str, str]]  # explainers, and percent of the attribution on the object
    picture: Path


class Case(NamedTuple):
    """An image, and what every head says of it."""

    label: str
    background: str | None  # class of ImageNet-9; None where the image is as it was photographed, or it is of none
    variant: str
    object_area: str  # percent
    disagree: Sequence[str]  # classifiers whose heads name different classes of ImageNet-9
    picture: Path
    ensembles: Sequence[HeadSaid]
    others: Sequence[HeadSaid]


class Explained(NamedTuple):
    """The contents of a folder that the stage wrote, for the classifiers that the lists name."""

    folder: Path
    content: Mapping[str, Any]
    params: Params
    scale: str

    @property
    def command(self) -> str:
        """What makes it."""
        return f"dvc repro explain_imagenet@{self.scale}"


def read_explained(folder: Path, params: Params, *, scale: str) -> Explained:
    """What the stage wrote, with at least the classifiers that the lists name.

    Raises: InputError where it is missing, damaged, or lacks one of them.
    """
    path = folder / EXPLAINED
    remedy = f"run `dvc repro explain_imagenet@{scale}`"
    if not path.is_file():
        raise InputError(f"report_imagenet_classifiers: found no {path}, expected where classifiers look; {remedy}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content["classifiers"]
        if lacking := [one.name for one in listed(params) if one.name not in found]:
            raise ValueError(f"found no {lacking[0]}, expected every classifier that the lists name")
        explained = Explained(folder, content, params, scale)
        shares_table(explained)
        cases(explained)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        cause = f"found no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"report_imagenet_classifiers: {path} does not hold where classifiers look ({cause}); delete its folder and {remedy}"
        ) from error
    return explained


def looks(
    explained: Explained, explainer: str = "grad_cam", variant: str = "original"
) -> dict[str, dict[str, tables.Estimate]]:
    """The share of the attribution that falls on the object, by classifier's name and head, where it is known."""
    found: dict[str, dict[str, tables.Estimate]] = {}
    for name, one in explained.content["classifiers"].items():
        for head, by_variant in one["heads"].items():
            share = by_variant[variant]["share"].get(explainer)
            if share is not None:
                found.setdefault(name, {})[head] = tables.Estimate(float(share["value"]), float(share["error"]))
    return found


def shares_table(explained: Explained) -> Table:
    """Percent of the attribution on the object, ± the standard error over images, a row per classifier and head; above them what an
    even spread would have.
    """
    params, content = explained.params, explained.content
    places = [(variant, explainer) for variant in VARIANTS for explainer in EXPLAINER_NAMES]
    columns = tuple(f"{VARIANT_NAMES[variant]}: {EXPLAINER_NAMES[explainer]}" for variant, explainer in places)
    areas = {variant: _mean_area(content["images"][variant]) for variant in VARIANTS}
    rows = [
        Row(
            "",
            "an even spread",
            "",
            tuple(Cell(tables.percent(areas[variant])) for variant, _ in places),
            OURS,
            explained.command,
        )
    ]
    for classifier in listed(params):
        for head, by_variant in content["classifiers"][classifier.name]["heads"].items():
            cells = tuple(_share_cell(by_variant[variant], explainer) for variant, explainer in places)
            rows.append(Row(head, label(classifier, params), "", cells, OURS, explained.command))
    return Table("Share of the attribution on the object", columns, rows, in_groups=False)


def _mean_area(images: Sequence[Mapping[str, Any]]) -> float:
    return sum(float(image["object_area"]) for image in images) / len(images)


def _share_cell(found: Mapping[str, Any], explainer: str) -> Cell:
    share = found["share"].get(explainer)
    if share is None:
        return Cell(tables.DASH, reason=str(found["absent"][explainer]))
    return Cell(tables.percent(float(share["value"])), f"± {tables.percent(float(share['error']))}")


def cases(explained: Explained) -> list[Case]:
    """The images that a page shows: of every variant those that come first, which are those on which heads disagree."""
    return [
        _case(explained, variant, place, image)
        for variant in VARIANTS
        for place, image in enumerate(explained.content["images"][variant][:MAX_CASES])
    ]


def _case(explained: Explained, variant: str, place: int, image: Mapping[str, Any]) -> Case:
    by_name = {one.name: one for one in listed(explained.params)}
    said = [
        _head_said(explained, by_name[name], head, by_variant[variant]["images"][place])
        for name in by_name
        for head, by_variant in explained.content["classifiers"][name]["heads"].items()
    ]
    disagree = [
        label(by_name[name], explained.params)
        for name, num in image["num_opinions"].items()
        if num > 1 and name in by_name
    ]
    return Case(
        image["label"],
        image["background"] if variant != "original" else None,
        variant,
        tables.percent(float(image["object_area"])),
        disagree,
        explained.folder / image["picture"],
        [one for one in said if one.head != "only"],
        [one for one in said if one.head == "only"],
    )


def _head_said(explained: Explained, classifier: Classifier, head: str, found: Mapping[str, Any]) -> HeadSaid:
    return HeadSaid(
        label(classifier, explained.params),
        head,
        [(str(name), tables.percent(float(share))) for name, share in found["answers"]],
        bool(found["right"]),
        [(EXPLAINER_NAMES[name], tables.percent(share)) for name, share in found["share"].items()],
        explained.folder / found["picture"],
    )
