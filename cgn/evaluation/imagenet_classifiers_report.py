"""The page on classifiers of natural images: the paper's Tables 3 and 4, all else that was scored, and what every head looks at."""

import csv
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from string import ascii_lowercase
from typing import Any, NamedTuple

from cgn.config import Params
from cgn.evaluation import imagenet_classifiers_paper as paper
from cgn.evaluation import latex, tables
from cgn.evaluation.imagenet_claims import HOW, claims
from cgn.evaluation.imagenet_classifier_runs import Place, Run, label, read_runs
from cgn.evaluation.imagenet_explained import EXPLAINED, Explained, HeadSaid, cases, looks, read_explained, shares_table
from cgn.evaluation.imagenet_results import MADE_BY, command, write_results
from cgn.evaluation.imagenet_tables import (
    PREDICTOR_NAMES,
    RESULT_COLUMNS,
    TITLES,
    Runs,
    Table,
    is_measured,
    make_table,
    result_rows,
    why_absent,
)
from cgn.evaluation.page import fitted_uri, render
from cgn.evaluation.shape_bias import CATEGORIES
from cgn.files import write_json

TEMPLATE = "imagenet_classifiers.html.j2"
SHARES = "shares"
_PICTURE_PX = 720  # a wider picture is made smaller: dozens have to fit into one page
_RELEASED = "released"
_BAR_PX, _ROW_PX, _NAME_PX = 190, 15, 74  # of the bars per category, in SVG units
_CHART_LEFT, _CHART_WIDTH, _CHART_ROW, _CHART_GAP = 300, 490, 24, 8  # of the chart of gaps
_SHORT = {
    paper.PAPER: "paper",
    paper.RERUN: "reproduction",
    paper.RERUN_PLAIN: "reproduction",
    paper.RERUN_LOGS: "reproduction's logs",
    paper.MADRY: "Xiao et al.",
    paper.ANKIT: "Ankit",
}


class Inputs(NamedTuple):
    """The folders of one scale that a page is made from, and the backbone that its classifiers start from."""

    metrics: Path
    explained: Path
    backbone: str  # torchvision's name
    backbone_source: str  # of its weights, in words
    is_random: bool  # they were never trained


# ---- tables as they are shown


def shown_table(table: Table) -> dict[str, Any]:
    """A table for the template: groups of one predictor, and letters for the reasons why numbers are missing."""
    letters = {reason: _letter(place) for place, reason in enumerate(table.reasons())}
    named = {row: PREDICTOR_NAMES.get(row.predictor, "") for row in table.rows}
    groups = [
        {
            "name": name,
            "rows": [
                {
                    "label": row.label
                    if table.in_groups
                    else ", ".join(part for part in (row.label, named[row]) if part),
                    "classes": row.classes,
                    "source": row.source if not row.command else "",
                    "command": row.command,
                    "cells": [(cell.text, cell.limits, letters.get(cell.reason, "")) for cell in row.cells],
                }
                for row in rows
            ],
        }
        for name, rows in groupby(table.rows, key=lambda row: named[row] if table.in_groups else "")
    ]
    commands = {row.command: row.label for row in table.rows if row.command}
    return {
        "title": table.title,
        "columns": table.columns,
        "has_classes": any(row.classes for row in table.rows),
        "groups": groups,
        "notes": [(letter, reason) for reason, letter in letters.items()],
        "commands": list(commands.items()),
    }


def _letter(place: int) -> str:
    """a to z, then aa and so on."""
    first, last = divmod(place, len(ascii_lowercase))
    return (_letter(first - 1) if first else "") + ascii_lowercase[last]


def write_table(target: Path, table: Table) -> None:
    """A table as CSV, with the command that makes each row, and as LaTeX, where letters stand for reasons, which comments spell out."""
    header = (*table.header, MADE_BY)
    rows = [(*text, row.command) for text, row in zip(table.text_rows(), table.rows, strict=True)]
    with target.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    letters = {reason: _letter(place) for place, reason in enumerate(table.reasons())}
    lettered = [
        (
            *text[: len(text) - 1 - len(row.cells)],
            *(f"{cell.text} ({letters[cell.reason]})" if cell.reason else str(cell) for cell in row.cells),
            text[-1],
        )
        for text, row in zip(table.text_rows(), table.rows, strict=True)
    ]
    comments = [f"% {MADE_BY} {made_by}" for made_by in dict.fromkeys(row.command for row in table.rows) if made_by]
    comments += [f"% ({letter}) {' '.join(reason.split())}" for reason, letter in letters.items()]
    text = "".join(f"{line}\n" for line in comments) + latex.tabular(table.title, table.header, lettered)
    target.with_suffix(".tex").write_text(text, encoding="utf-8")


# ---- pictures of numbers


def category_bars(runs: Runs, params: Params) -> list[dict[str, Any]]:
    """Per classifier and predictor the decisions by shape and by texture, category by category, as SVG geometry; all seeds together."""
    return [
        _bars(f"{label(classifier, params)}, {PREDICTOR_NAMES[predictor]}", of_one, predictor)
        for classifier, of_one in runs.items()
        for predictor in of_one[0].measures
        if any(predictor in run.per_category for run in of_one)
    ]


def _bars(title: str, runs: Sequence[Run], predictor: str) -> dict[str, Any]:
    found = [run.per_category[predictor] for run in runs if predictor in run.per_category]
    rows = []
    for place, category in enumerate(CATEGORIES):
        by_shape, by_texture = (sum(one.get(category, (0, 0))[side] for one in found) for side in (0, 1))
        num = by_shape + by_texture
        width = _BAR_PX * by_shape / num if num else 0.0
        rows.append(
            {
                "name": category,
                "y": place * _ROW_PX,
                "shape": f"{width:.1f}",
                "texture": f"{_BAR_PX - width:.1f}" if num else "0",
                "counts": f"{by_shape} : {by_texture}",
            }
        )
    totals = [sum(counts[side] for one in found for counts in one.values()) for side in (0, 1)]
    images = sum(run.counts[predictor].get(("cue_conflict", "num_images"), 0) for run in runs)
    bias = tables.percent(totals[0] / sum(totals)) if sum(totals) else "undefined"
    return {"title": title, "rows": rows, "bias": bias, "decided": f"{sum(totals):,}", "images": f"{images:,}"}


def gap_groups(runs: Runs, params: Params) -> list[dict[str, Any]]:
    """Mixed-Rand and Mixed-Same of every row that has both, ours and published, predictor by predictor, as SVG geometry."""
    groups, y = [], 0
    for predictor, name in PREDICTOR_NAMES.items():
        if found := _gaps_of(runs, params, predictor):
            rows = [
                {
                    "label": label,
                    "source": source,
                    "y": y + (place + 1) * _CHART_ROW,
                    "rand": f"{_CHART_LEFT + rand * _CHART_WIDTH:.1f}",
                    "same": f"{_CHART_LEFT + same * _CHART_WIDTH:.1f}",
                    "gap": f"{100 * (same - rand):+.1f}",
                }
                for place, (label, source, rand, same) in enumerate(found)
            ]
            groups.append({"name": name, "y": y, "rows": rows})
            y += (len(rows) + 1) * _CHART_ROW + _CHART_GAP
    return groups


def _gaps_of(runs: Runs, params: Params, predictor: str) -> list[tuple[str, str, float, float]]:
    """Labels, sources (empty: ours), Mixed-Rand and Mixed-Same of one predictor."""
    found = []
    for classifier, of_one in runs.items():
        rand, same = (_mean(of_one, predictor, place) for place in (paper.MIXED_RAND, paper.MIXED_SAME))
        if rand is not None and same is not None:
            found.append((label(classifier, params), "", rand, same))
    for row in paper.TABLE_4:
        if row.predictor == predictor and {paper.MIXED_RAND, paper.MIXED_SAME} <= row.figures.keys():
            rand, same = (float(row.figures[place]) / 100 for place in (paper.MIXED_RAND, paper.MIXED_SAME))
            found.append((row.label, _SHORT.get(row.source, row.source), rand, same))
    return found


def _mean(runs: Sequence[Run], predictor: str, place: Place) -> float | None:
    found = [one.value for run in runs if (one := run.measures.get(predictor, {}).get(place)) is not None]
    return tables.spread_of(found).mean if found else None


# ---- what heads look at


def shown_cases(explained: Explained) -> list[dict[str, Any]]:
    """The images of the page with what each head says, pictures inside."""
    return [
        {
            **case._asdict(),
            "picture": fitted_uri(case.picture, width=_PICTURE_PX),
            "ensembles": [_shown(one) for one in case.ensembles],
            "others": [_shown(one) for one in case.others],
        }
        for case in cases(explained)
    ]


def _shown(said: HeadSaid) -> dict[str, Any]:
    return {
        **said._asdict(),
        "head": PREDICTOR_NAMES[said.head],
        "picture": fitted_uri(said.picture, width=_PICTURE_PX),
    }


# ---- the page


def protocol_rows(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """What the numbers depend on, a row each; values that differ between runs stand side by side."""
    found: dict[Place, dict[str, None]] = {}
    for run in runs:
        for place, value in _flat(run.protocol, ()):
            found.setdefault(place, {})[value] = None
    return [(", ".join(place).replace("_", " "), " | ".join(values)) for place, values in found.items()]


def _flat(content: Any, place: Place) -> list[tuple[Place, str]]:
    if isinstance(content, Mapping):
        return [pair for name, one in content.items() for pair in _flat(one, (*place, str(name)))]
    return [(place, f"{content:,}" if type(content) is int else str(content))]


def write_imagenet_classifiers_report(folder: Path, *, params: Params, scale: str, inputs: Inputs) -> int:
    """Write the page, the long table as JSON and CSV, every table of the page as CSV and LaTeX, and a copy of what was explained.

    Reads exactly the classifiers that the lists in params name; returns the number of results.
    Raises: InputError where a classifier's metrics or pictures are missing or of another kind.
    """
    runs = read_runs(inputs.metrics, params, scale)
    explained = read_explained(inputs.explained, params, scale=scale)
    made = {
        which: make_table(which, runs, params) for which in TITLES if which != _RELEASED or is_measured(which, runs)
    }
    made[SHARES] = shares_table(explained)
    for which, table in made.items():
        write_table(folder / which, table)
    all_runs = [run for of_one in runs.values() for run in of_one]
    page = render(
        TEMPLATE,
        {
            "scale": scale,
            "seeds": params.seeds,
            "backbone": inputs,
            "tables": {which: shown_table(table) for which, table in made.items()},
            "released_absent": [] if _RELEASED in made else why_absent(_RELEASED, runs),
            "bars": category_bars(runs, params),
            "bar": {"px": _BAR_PX, "row": _ROW_PX, "name": _NAME_PX, "height": _ROW_PX * len(CATEGORIES)},
            "gaps": (gaps := gap_groups(runs, params)),
            "chart": {
                "left": _CHART_LEFT,
                "width": _CHART_WIDTH,
                "height": max((row["y"] for group in gaps for row in group["rows"]), default=0) + _CHART_ROW,
            },
            "backgrounds": _backgrounds(all_runs),
            "remarks": paper.REMARKS,
            "cases": shown_cases(explained),
            "explained": protocol_of(explained),
            "claims": claims(runs, looks(explained), params, scale=scale),
            "claims_how": HOW,
            "protocol": protocol_rows(all_runs),
            "commands": [
                (label(one, params), run.seed, command([run])) for one, of_one in runs.items() for run in of_one
            ],
        },
    )
    (folder / "index.html").write_text(page, encoding="utf-8")
    write_json(folder / EXPLAINED, explained.content)
    rows = result_rows(runs, backbone=inputs.backbone)
    write_results(folder, rows, RESULT_COLUMNS)
    return len(rows)


def protocol_of(explained: Explained) -> list[tuple[str, str]]:
    """What the explanations depend on, a row each."""
    return [(", ".join(place).replace("_", " "), text) for place, text in _flat(explained.content["protocol"], ())]


def _backgrounds(runs: Sequence[Run]) -> str:
    """Against how many backgrounds per foreground the challenge was, where metrics say so."""
    found = {
        count
        for run in runs
        for of_one in run.counts.values()
        if (count := of_one.get(("challenge", "num_backgrounds")))
    }
    return " or ".join(f"{count:,}" for count in sorted(found))
