"""The page on the ImageNet CGN: the paper's Table 1, masks over training and all that was measured, with the numbers beside it."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cgn.config import Params
from cgn.errors import InputError
from cgn.evaluation import imagenet_paper, latex, tables
from cgn.evaluation.imagenet_gallery import read_gallery
from cgn.evaluation.imagenet_results import MADE_BY, command, write_results
from cgn.evaluation.imagenet_runs import Place, Run, Timeline, changed_recipe, losses_off, read_runs, read_timeline
from cgn.evaluation.measured import Table
from cgn.evaluation.page import fitted_uri, render
from cgn.evaluation.paper import NOT_HELD

TEMPLATE = "imagenet.html.j2"
SHEET_PX = 1320  # a wider sheet is made smaller: thirty runs have to fit into one page
# What a timeline measures, in SVG units.
CHART_LEFT, CHART_TOP, CHART_WIDTH, CHART_HEIGHT = 34, 12, 280, 120
MAX_POINTS = 400  # of a line

LOSSES = {"shape": "L_shape", "texture": "L_text", "background": "L_bg", "reconstruction": "L_rec"}  # as in Table 1
LABELS = {
    "mask_mean": "mean mask, \N{GREEK SMALL LETTER MU}_mask",
    "mask_binary_share": "decided pixels of masks",
    "background_saliency": "saliency of backgrounds",
    "mask_iou": "mask IoU with saliency",
    "reconstruction_l1": "reconstruction error",
}
_UNSAID = "image_quality"  # a group of numbers whose own names say enough
_NAMES = {"fid": "FID", "inception": "Inception", "iou": "IoU", "top1": "top-1", "top5": "top-5"}
UNTRAINED = {"biggan": "BigGAN (mechanisms and teacher)", "saliency": "the saliency network", "vgg": "VGG16"}
RESULT_COLUMNS = (
    "scale", "recipe", "change", "seed", "metric", "value", "paper", "reproduction", "not_measured_because", "command",
)  # fmt: skip
_BESIDE_IS = ("IS", "IS, paper", "IS, reproduction")
_BESIDE_MASK = tuple(f"\N{GREEK SMALL LETTER MU}_mask{what}" for what in ("", ", paper", ", reproduction"))
_COMPOSITES, _TEACHER = "composites", "teacher"


class Shown(NamedTuple):
    """A table of text, and what makes its rows or its columns."""

    table: Table
    commands_of: Literal["rows", "columns"]  # the first column holds names
    commands: tuple[str, ...]


class Inputs(NamedTuple):
    """The folders of one scale that a page is made from, and what else it says."""

    metrics: Path
    records: Path
    sheets: Path
    untrained: Sequence[str]  # networks of random weights, by their kind
    sheet_classes: Sequence[str]  # the columns of a training sheet


# ---- numbers as text


def _spread_text(values: Sequence[float], num_seeds: int) -> str:
    """Mean ± standard deviation; one decimal from 10 on, else three. Says so where only some seeds were measured."""
    value = tables.spread_of(values)
    decimals = 1 if value.mean >= 10 else 3
    text = f"{value.mean:.{decimals}f}" + (f" ± {value.std:.{decimals}f}" if value.std is not None else "")
    return text if len(values) == num_seeds else f"{text} ({len(values)} of {num_seeds} seeds)"


def _cell(values: Sequence[float | None], reasons: Sequence[str]) -> str:
    """A number over seeds, or why there is none."""
    measured = [value for value in values if value is not None]
    return _spread_text(measured, len(values)) if measured else f"not measured: {reasons[0]}"


def _label(place: Place) -> str:
    words = ", ".join(name.replace("_", " ") for name in place if name != _UNSAID).split(" ")
    return LABELS.get(place[0]) or " ".join(_NAMES.get(word, word) for word in words)


# ---- Table 1


def score_place(run: Run, of: str) -> Place | None:
    """Where a run's Inception Score of `of` is, composites or the teacher's images: of as many images as the reproduction's, or
    else of most, which comes last.
    """
    found = [
        place
        for place in run.numbers
        if "inception_score" in place
        and ((of in place and place[-1] == "mean") or (of == _COMPOSITES and place[-1] == "inception_score"))
    ]
    alike = [place for place in found if f"{imagenet_paper.REPRODUCED_IMAGES} images" in place]
    return (alike or found)[-1] if found else None


def _scored(runs: Sequence[Run]) -> str:
    """Of how many images the Inception Score of Table 1 is, where metrics say so."""
    places = [place for run in runs if (place := score_place(run, _COMPOSITES))]
    return next((name for place in places for name in place if name.endswith(" images")), "")


def _score_cell(runs: Sequence[Run], of: str) -> str:
    places = [score_place(run, of) for run in runs]
    values = [None if place is None else run.numbers[place] for run, place in zip(runs, places, strict=True)]
    reasons = [reason for run in runs for place, reason in run.missing.items() if place[-1] == "inception_score"]
    return _cell(values, reasons or ["its metrics hold no Inception Score"])


def _mask_cell(runs: Sequence[Run]) -> str:
    place = ("mask_mean",)
    return _cell([run.numbers.get(place) for run in runs], [run.missing.get(place, "") for run in runs])


def published_for(off: Sequence[str], table: imagenet_paper.Table) -> imagenet_paper.PublishedAblation | None:
    """A source's figures with these losses off; None where it has none."""
    return table.get(off[0] if off else imagenet_paper.NONE_OFF) if len(off) <= 1 else None


def table_1(params: Params, recipe: str, runs: Mapping[str, Sequence[Run]]) -> Shown:
    """The paper's Table 1: which losses are on, Inception Score and mean mask, a row per change, the full model below them.

    `runs` are those of the recipe, by change.
    """
    off = {change: losses_off(changed_recipe(params, recipe, change)) for change in runs}
    order = sorted(runs, key=lambda change: not off[change])
    rows = [_ablation_row(change, off[change], runs[change]) for change in order]
    teacher = _score_cell(runs[order[-1]], _TEACHER)
    bound = (teacher, f"{imagenet_paper.TEACHER_SCORE:.1f}", NOT_HELD, *[tables.DASH] * len(_BESIDE_MASK))
    rows.append(("BigGAN, upper bound", *[tables.DASH] * len(LOSSES), *bound))
    header = ("change", *LOSSES.values(), *_BESIDE_IS, *_BESIDE_MASK)
    return Shown(Table(header, rows), "rows", tuple(command(runs[change]) for change in (*order, order[-1])))


def _ablation_row(change: str, off: Sequence[str], runs: Sequence[Run]) -> tuple[str, ...]:
    published = [published_for(off, table) for table in (imagenet_paper.PUBLISHED, imagenet_paper.REPRODUCED)]
    return (
        change.replace("_", " "),
        *("✗" if loss in off else "✓" for loss in LOSSES),
        _score_cell(runs, _COMPOSITES),
        *(f"{figures.inception_score:.1f}" if figures else NOT_HELD for figures in published),
        _mask_cell(runs),
        *(f"{figures.mask_mean:.1f}" if figures else NOT_HELD for figures in published),
    )


# ---- all that was measured


def measures_table(runs: Mapping[str, Sequence[Run]]) -> Shown:
    """A row per number that any run's metrics hold, a column per change."""
    places = dict.fromkeys(
        place for of_change in runs.values() for run in of_change for place in (*run.numbers, *run.missing)
    )
    rows = [
        (
            _label(place),
            *(
                _cell(
                    [run.numbers.get(place) for run in of_change],
                    [run.missing.get(place, "its metrics hold no such number") for run in of_change],
                )
                for of_change in runs.values()
            ),
        )
        for place in places
    ]
    header = ("measure", *(change.replace("_", " ") for change in runs))
    return Shown(Table(header, rows), "columns", tuple(command(of_change) for of_change in runs.values()))


def result_rows(params: Params, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The long table: a row per number and seed, with the published figures where it is one of Table 1's."""
    rows = []
    for run in runs:
        off = losses_off(changed_recipe(params, run.recipe, run.change))
        for place in (*run.numbers, *run.missing):
            field = {score_place(run, _COMPOSITES): "inception_score", ("mask_mean",): "mask_mean"}.get(place, "")
            sources = (imagenet_paper.PUBLISHED, imagenet_paper.REPRODUCED)
            figures = [getattr(published_for(off, table), field, None) for table in sources]
            row = (run.scale, run.recipe, run.change, run.seed, ".".join(place), run.numbers.get(place), *figures)
            rows.append(dict(zip(RESULT_COLUMNS, (*row, run.missing.get(place), command([run])), strict=True)))
    return rows


def untrained_networks(kinds: Sequence[str], runs: Sequence[Run]) -> list[str]:
    """Which networks had random weights, in words: those of these kinds, and those that a protocol says are random."""
    judges = [place[-1].replace("_", " ") for run in runs for place, value in run.protocol.items() if value == "random"]
    return list(dict.fromkeys([*(UNTRAINED.get(kind, kind) for kind in kinds), *judges]))


def protocol_rows(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """What the numbers depend on, a row each; values that differ between runs stand side by side."""
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        for place, value in run.protocol.items():
            words = [name for name in place if name != "protocol"]
            found.setdefault(", ".join(words).replace("_", " "), {})[value] = None
    return [(name, " | ".join(values)) for name, values in found.items()]


# ---- pictures


def chart(timelines: Sequence[Timeline]) -> dict[str, Any]:
    """Masks over training as SVG geometry: a line per seed of their mean, and one of the share of decided pixels."""
    lines = []
    for timeline in timelines:
        lines.append({"kind": "mean", "points": _points(timeline.steps, timeline.mask_mean)})
        lines.append({"kind": "decided", "points": _points(timeline.steps, timeline.binary_share)})
    return {"lines": lines, "first": f"{timelines[0].steps[0]:,.0f}", "last": f"{timelines[0].steps[-1]:,.0f}"}


def _points(steps: Sequence[float], values: Sequence[float]) -> str:
    every = -(-len(steps) // MAX_POINTS)
    kept = sorted({*range(0, len(steps), every), len(steps) - 1})
    length = (steps[-1] - steps[0]) or 1.0
    return " ".join(
        f"{CHART_LEFT + (steps[at] - steps[0]) / length * CHART_WIDTH:.1f},{chart_y(values[at]):.1f}" for at in kept
    )


def chart_y(share: float) -> float:
    """Where a share lies in a timeline, in SVG units from above."""
    return CHART_TOP + (1 - share) * CHART_HEIGHT


def last_sheet(record: Path) -> tuple[int, Path]:
    """The last picture sheet of a training, and the step that it shows.

    Raises: InputError where there is none.
    """
    if not (found := sorted((record / "sheets").glob("step-*.png"))):
        raise InputError(
            f"report_imagenet: found no {record / 'sheets'}/step-*.png, expected a training's sheets; "
            "delete the record and run `dvc repro train_imagenet`"
        )
    return int(found[-1].stem.removeprefix("step-")), found[-1]


# ---- the page


def _section(params: Params, recipe: str, runs: Mapping[str, Sequence[Run]], inputs: Inputs) -> dict[str, Any]:
    timelines, sheets = [], []
    for change, of_change in runs.items():
        folders = [inputs.records / run.name / str(run.seed) for run in of_change]
        title = change.replace("_", " ")
        timelines.append({"title": title, **chart([read_timeline(folder) for folder in folders])})
        for run, folder in zip(of_change, folders, strict=True):
            step, path = last_sheet(folder)
            sheets.append((title, run.seed, f"{step:,}", fitted_uri(path, width=SHEET_PX)))
    first = runs[params.imagenet_changes[0]][0]
    return {
        "recipe": recipe,
        "timelines": timelines,
        "pictured": first.change.replace("_", " "),
        "walls": read_gallery(inputs.sheets / first.name / str(first.seed)),
        "sheets": [sheet for sheet in sheets if sheet[1] == params.seeds[0]],
        "more_sheets": [sheet for sheet in sheets if sheet[1] != params.seeds[0]],
        "limits": params.imagenet_cgn[recipe].size_range,
    }


def write_imagenet_report(folder: Path, *, params: Params, scale: str, inputs: Inputs) -> int:
    """Write the page, the long table as JSON and CSV, and every table of the page as CSV and LaTeX.

    Reads exactly the runs that the lists in params name; returns the number of results.
    Raises: InputError where a run's metrics, timeline or sheets are missing.
    """
    runs = read_runs(inputs.metrics, params, scale)
    sections = []
    for recipe in params.imagenet_recipes:
        of_recipe = {
            change: [run for run in runs if (run.recipe, run.change) == (recipe, change)]
            for change in params.imagenet_changes
        }
        shown = {"table1": table_1(params, recipe, of_recipe), "measures": measures_table(of_recipe)}
        for name, one in shown.items():
            _write_table(folder / f"{name}-{recipe}", f"{name}, recipe {recipe}, scale {scale}", one)
        sections.append({**_section(params, recipe, of_recipe, inputs), **shown})
    page = render(
        TEMPLATE,
        {
            "scale": scale,
            "seeds": params.seeds,
            "sections": sections,
            "untrained": untrained_networks(inputs.untrained, runs),
            "protocol": protocol_rows(runs),
            "scored": _scored(runs),
            "chart": {
                "left": CHART_LEFT,
                "right": CHART_LEFT + CHART_WIDTH,
                "bottom": chart_y(0.0),
                "marks": [(f"{share:g}", chart_y(share)) for share in (0.0, 0.5, 1.0)],
                "limits": {section["recipe"]: [chart_y(limit) for limit in section["limits"]] for section in sections},
            },
            "classes": inputs.sheet_classes,
            "quoted": imagenet_paper.QUOTED,
            "rerun": imagenet_paper.RERUN,
            "protocols": imagenet_paper.PROTOCOLS,
            "not_held": NOT_HELD,
            "commands": [(run.recipe, run.change, run.seed, command([run])) for run in runs],
        },
    )
    (folder / "index.html").write_text(page, encoding="utf-8")
    rows = result_rows(params, runs)
    write_results(folder, rows, RESULT_COLUMNS)
    return len(rows)


def _write_table(target: Path, title: str, shown: Shown) -> None:
    """One table as CSV and LaTeX; the commands are the CSV's last column or row, and comments above the LaTeX."""
    table, commands = shown.table, shown.commands
    if shown.commands_of == "rows":
        header = (*table.header, MADE_BY)
        rows = [(*row, made_by) for row, made_by in zip(table.rows, commands, strict=True)]
    else:
        header, rows = table.header, [*table.rows, (MADE_BY, *commands)]
    with target.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    comments = "".join(f"% {MADE_BY} {made_by}\n" for made_by in dict.fromkeys(commands))
    text = comments + latex.tabular(title, table.header, table.rows)
    target.with_suffix(".tex").write_text(text, encoding="utf-8")
