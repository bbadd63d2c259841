"""Tables of classifiers of natural images: the paper's Tables 3 and 4, and all else that was scored; every row is of one predictor."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cgn.config import Params
from cgn.evaluation import imagenet_classifiers_paper as paper
from cgn.evaluation import tables
from cgn.evaluation.imagenet_classifier_runs import NO_REASON, Classifier, Measure, Place, Run, label
from cgn.evaluation.imagenet_predictions import PREDICTORS
from cgn.evaluation.imagenet_results import command
from cgn.evaluation.paper import NOT_HELD

Runs = Mapping[Classifier, Sequence[Run]]  # seed by seed

PREDICTOR_NAMES = {
    "only": "one head",
    "average": "average of three heads",
    "shape_texture": "shape + texture",
    "shape": "shape head",
    "texture": "texture head",
    "background": "background head",
    paper.UNSAID: "predictor not said",
}
CLASSES = {"imagenet": "1,000", "in9": "9"}
OURS = "measured here"
NOT_MEASURED = "not measured"
RESULT_COLUMNS = (
    "scale", "classifier", "seed", "predictor", "classes", "metric", "value", "low", "high", "paper", "reproduction",
    "not_measured_because", "command",
)  # fmt: skip
VARIANTS = {
    "original": "IN-9",
    "mixed_same": "Mixed-Same",
    "mixed_rand": "Mixed-Rand",
    "mixed_next": "Mixed-Next",
    "only_fg": "Only-FG",
    "no_fg": "No-FG",
    "only_bg_b": "Only-BG-B",
    "only_bg_t": "Only-BG-T",
}
_VARIANT_COLUMNS: dict[str, Place] = {name: ("in9", variant) for variant, name in VARIANTS.items()}
_COLUMNS: dict[str, dict[str, Place]] = {
    "table3": {"shape bias": paper.SHAPE_BIAS, "top-1": paper.TOP1, "top-5": paper.TOP5},
    "table4": {
        "IN-9": paper.ORIGINAL,
        "Mixed-Same": paper.MIXED_SAME,
        "Mixed-Rand": paper.MIXED_RAND,
        "BG-Gap": paper.GAP,
        "challenge": paper.CHALLENGE,
    },
    "released": {
        "IN-9": ("released_in9", "original"),
        "Mixed-Same": ("released_in9", "mixed_same"),
        "Mixed-Rand": ("released_in9", "mixed_rand"),
        "BG-Gap": ("released_background_gap",),
        "challenge": ("released_challenge",),
    },
    "accuracy": {
        "train top-1": ("train", "top1"),
        "train top-5": ("train", "top5"),
        "held-out top-1": paper.TOP1,
        "held-out top-5": paper.TOP5,
    },
    "variants": _VARIANT_COLUMNS,
    "other_sets": {
        "Stylized-ImageNet": paper.STYLIZED,
        "ImageNet-A": paper.IMAGENET_A,
        "ImageNet-Sketch": paper.SKETCH,
    },
}
TITLES = {
    "table3": "Table 3: shape or texture",
    "table4": "Table 4: object or background, ImageNet-9 as built here",
    "released": "Table 4 on the released ImageNet-9",
    "accuracy": "Accuracy on training and on held-out images",
    "variants": "Every variant of ImageNet-9, as built here",
    "other_sets": "Other images, top-1",
}
_PUBLISHED: dict[str, tuple[paper.Published, ...]] = {
    "table3": paper.TABLE_3,
    "table4": paper.TABLE_4,
    "released": paper.TABLE_4,
    "other_sets": paper.OTHER_SETS,
}


class Cell(NamedTuple):
    """A number as text and how sure it is; or why there is none."""

    text: str
    limits: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return f"{NOT_MEASURED}: {self.reason}" if self.reason else f"{self.text} {self.limits}".rstrip()


class Row(NamedTuple):
    """A classifier by one predictor, ours or published."""

    predictor: str
    label: str
    classes: str  # how many the classifier tells apart; empty where a source need not say it
    cells: tuple[Cell, ...]
    source: str
    command: str  # empty for published rows


class Table(NamedTuple):
    """Rows of one predictor each."""

    title: str
    columns: tuple[str, ...]
    rows: list[Row]
    in_groups: bool = True  # a page shows the rows of a predictor together

    @property
    def header(self) -> tuple[str, ...]:
        """Names of the columns of `text_rows`."""
        return ("predictor", "classifier", "classes", *self.columns, "source")

    def text_rows(self) -> list[tuple[str, ...]]:
        """Every row as text."""
        return [
            (PREDICTOR_NAMES.get(row.predictor, ""), row.label, row.classes, *map(_as_text, row.cells), row.source)
            for row in self.rows
        ]

    def reasons(self) -> list[str]:
        """Why numbers are missing, each reason once, in the order in which they come."""
        return list(dict.fromkeys(cell.reason for row in self.rows for cell in row.cells if cell.reason))


def _as_text(cell: Cell) -> str:
    return cell.reason if cell.reason == NOT_HELD else str(cell)


def measured_cell(runs: Sequence[Run], predictor: str, place: Place) -> Cell:
    """A number in percent: over seeds mean ± standard deviation, and of how many of them where some lack it; of one seed with its
    interval; or why there is none.
    """
    found = [one for run in runs if (one := run.measures[predictor].get(place)) is not None]
    if not found:
        return Cell(tables.DASH, reason=runs[0].reason(predictor, place))
    value = tables.spread_of([one.value for one in found])
    if len(runs) == 1:
        return Cell(tables.percent(value.mean), f"[{tables.percent(found[0].low)}, {tables.percent(found[0].high)}]")
    spread = f"± {tables.percent(value.std)}" if value.std is not None else ""
    share = f"({len(found)} of {len(runs)} seeds)" if len(found) < len(runs) else ""
    return Cell(tables.percent(value.mean), f"{spread} {share}".strip())


def _published_row(row: paper.Published, places: Sequence[Place]) -> Row:
    cells = tuple(
        Cell(row.figures[place]) if place in row.figures else Cell(tables.DASH, reason=NOT_HELD) for place in places
    )
    return Row(row.predictor, row.label, "", cells, row.source, "")


def _figures_of(which: str) -> dict[str, Place]:
    """Where published rows have the figures of a table's columns: those on ImageNet-9 are all of the released one."""
    return _COLUMNS["table4" if which == "released" else which]


def make_table(which: str, runs: Runs, params: Params) -> Table:
    """One of the tables of TITLES: predictor by predictor ours, and below them what was published.

    Numbers of a predictor that a classifier has not got have no row.
    """
    columns = _COLUMNS[which]
    rows = [
        Row(
            predictor,
            label(classifier, params),
            CLASSES[of_one[0].classes],
            tuple(measured_cell(of_one, predictor, place) for place in columns.values()),
            OURS,
            command(of_one),
        )
        for predictor in PREDICTORS
        for classifier, of_one in runs.items()
        if predictor in of_one[0].measures
    ]
    rows += [_published_row(row, [_figures_of(which)[name] for name in columns]) for row in _PUBLISHED.get(which, ())]
    order = list(PREDICTOR_NAMES)
    return Table(TITLES[which], tuple(columns), sorted(rows, key=lambda row: order.index(row.predictor)))


def is_measured(which: str, runs: Runs) -> bool:
    """Whether any run has a number of this table."""
    places = set(_COLUMNS[which].values())
    return any(places & of_one.keys() for of in runs.values() for run in of for of_one in run.measures.values())


def why_absent(which: str, runs: Runs) -> list[str]:
    """Why no run has a number of this table, each reason once."""
    found = [
        run.reason(predictor, place)
        for of in runs.values()
        for run in of
        for predictor in run.measures
        for place in _COLUMNS[which].values()
    ]
    reasons = list(dict.fromkeys(found))
    return [reason for reason in reasons if reason != NO_REASON] or reasons


def result_rows(runs: Runs, *, backbone: str) -> list[dict[str, Any]]:
    """The long table: a row per number of a run and predictor, with the published figures where it is one of theirs and of their
    backbone; `backbone` is torchvision's name of ours.
    """
    known = {place for columns in _COLUMNS.values() for place in columns.values()}
    rows = []
    for run in (run for of_one in runs.values() for run in of_one):
        for predictor, measures in run.measures.items():
            places = [*measures, *sorted(known - measures.keys())]
            is_theirs = backbone == paper.BACKBONE
            rows += [_result_row(run, predictor, place, measures.get(place), is_theirs=is_theirs) for place in places]
    return rows


def _result_row(run: Run, predictor: str, place: Place, measure: Measure | None, *, is_theirs: bool) -> dict[str, Any]:
    figures = [
        _published_figure(run.classifier.method, predictor, place, again=again) if is_theirs else None
        for again in (False, True)
    ]
    numbers = (None, None, None) if measure is None else measure
    reason = run.reason(predictor, place) if measure is None else None
    name = ".".join(place)
    row = (
        run.scale,
        run.classifier.name,
        run.seed,
        predictor,
        run.classes,
        name,
        *numbers,
        *figures,
        reason,
        command([run]),
    )
    return dict(zip(RESULT_COLUMNS, row, strict=True))


def _published_figure(method: str, predictor: str, place: Place, *, again: bool) -> float | None:
    found = (paper.published(table, method, predictor, place, again=again) for table in _PUBLISHED.values())
    return next((figure for figure in found if figure is not None), None)
