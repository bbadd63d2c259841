"""The report: one self-contained HTML page over all data sets, and the numbers beside it."""

import csv
import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cgn.config import Params
from cgn.errors import InputError
from cgn.evaluation import claims, glossary, latex, measured, paper, stability, tables
from cgn.evaluation.page import data_uri, render
from cgn.evaluation.records import read_record

TEMPLATE = "report.html.j2"
MAX_BYTES = 5_000_000
SHEETS = ("samples", "counterfactuals", "timeline", "curves")
CHANCE = 0.1
_MADE = ("factors.png",)  # of every generator; others of those that have more to show
# What the page's bar charts measure, in SVG units.
BAR_LEFT, BAR_WIDTH, BAR_STEP = 230, 400, 44


def bars(rows: Sequence[Mapping[str, Any]], dataset: str, found: Sequence[tables.Experiment]) -> list[dict[str, Any]]:
    """Test accuracy per experiment as SVG geometry: the bar, the range and dots of the seeds, the published figure."""
    drawn = []
    for index, experiment in enumerate(found):
        value = tables.spread(rows, dataset=dataset, experiment=experiment.name, test_set="test", metric="accuracy")
        assert value is not None  # read_cells has seen a test accuracy in every cell
        figure = paper.published(experiment.method, experiment.recipe, dataset)
        drawn.append(
            {
                "label": experiment.label,
                "kind": _kind(experiment),
                "text": tables.percent_spread(value),
                "y": index * BAR_STEP,
                "width": round(value.mean * BAR_WIDTH, 2),
                "seeds": [_x(number) for number in value.values] if value.std is not None else [],
                "published": _x(figure.test) if figure else None,
            }
        )
    return drawn


def _x(value: float) -> float:
    return round(BAR_LEFT + value * BAR_WIDTH, 2)


def _kind(experiment: tables.Experiment) -> str:
    if experiment.is_oracle:
        return "oracle"
    return "biased" if experiment.real_share == 1 else "counterfactual"


def _section(dataset: str, sheets: Path) -> dict[str, Any]:
    folder = sheets / dataset
    return {
        "name": dataset,
        "title": tables.dataset_title(dataset),
        "images": {name: data_uri(folder / f"{name}.png") for name in SHEETS},
        "record": read_record(folder / "record.json"),
    }


class Inputs(NamedTuple):
    """The folders of one scale that a report is made from."""

    metrics: Path
    sheets: Path
    measured: Path
    explained: Path


def _pictures(params: Params, dataset: str, inputs: Inputs) -> dict[str, Any]:
    seed = str(params.seeds[0])
    folders = {name: inputs.measured / dataset / name / seed for name in params.generators}
    return {
        "grids": {
            name: [
                data_uri(folder / file)
                for file in ("factors.png", "codes.png")
                if file in _MADE or (folder / file).is_file()
            ]
            for name, folder in folders.items()
        },
        "timelines": [
            (f"{name}, {change.replace('_', ' ')}", data_uri(folder / "timeline.png"))
            for name, change in product(params.ablate.generators, params.ablate.changes)
            for folder in (inputs.measured / dataset / "ablations" / f"{name}-{change}" / seed,)
        ],
        "saliency": data_uri(inputs.explained / dataset / "saliency.png"),
        "features": data_uri(inputs.explained / dataset / "features.png"),
    }


def _commands(
    params: Params, scale: str, dataset: str, found: Sequence[tables.Experiment]
) -> list[tuple[str, list[str]]]:
    """What makes every number of a data set: the table that it stands in, and the commands of its cells."""
    sweep, ablate = params.sweep, params.ablate
    stages = {
        "Accuracy, by environment too": [one.target(scale, dataset, seed) for one in found for seed in params.seeds],
        "Quality of the counterfactuals": [
            f"measure@{scale}-{dataset}-{name}-{seed}" for name in params.generators for seed in params.seeds
        ],
        "Where classifiers look": [f"explain@{scale}-{dataset}"],
        "How many counterfactuals": [
            f"sweep@{scale}-{dataset}-{'-'.join(map(str, cell))}"
            for cell in product(sweep.generators, sweep.num_images, sweep.cf_ratio, sweep.real_percent, params.seeds)
        ],
        "One thing changed": [
            f"ablate@{scale}-{dataset}-{name}-{change}-{seed}"
            for name, change, seed in product(ablate.generators, ablate.changes, params.seeds)
        ],
    }
    return [(title, [f"dvc repro {stage}" for stage in of_table]) for title, of_table in stages.items() if of_table]


def _table(table: measured.Table) -> dict[str, Any]:
    return {"header": table.header, "rows": table.rows}


def write_report(folder: Path, *, params: Params, scale: Literal["demo", "full"], inputs: Inputs) -> int:
    """Write the page, the long table as JSON and CSV, every table of the page as CSV and LaTeX, and the summary.

    Reads exactly the cells that the lists in params name; returns the number of results.
    Raises: InputError where a cell or a picture is missing.
    """
    metrics, sheets = inputs.metrics, inputs.sheets
    found = tables.experiments(params)
    datasets: list[str] = [*params.datasets_run]
    names = [experiment.name for experiment in found]
    cells = tables.read_cells(metrics, datasets=datasets, names=names, seeds=params.seeds)
    rows = tables.result_rows(scale, cells, found)
    quality = {dataset: measured.quality_table(metrics, params, dataset) for dataset in datasets}
    explained = {dataset: measured.explained_table(metrics, dataset, found) for dataset in datasets}
    swept = {dataset: measured.sweep_cells(metrics, params, dataset) for dataset in datasets}
    sweeps = {dataset: measured.sweep_table(cells, dataset) for dataset, cells in swept.items()}
    ablations = {dataset: measured.ablation_table(metrics, params, dataset) for dataset in datasets}
    accuracy = {one: measured.Table(tables.header(rows), tables.method_rows(rows, one, found)) for one in datasets}
    stable = {dataset: stability.table_and_verdict(rows, dataset, found) for dataset in datasets}
    sections = [
        {
            **_section(dataset, sheets),
            "bars": bars(rows, dataset, found),
            "table": accuracy[dataset].rows,
            "stability": _table(stable[dataset][0]),
            "verdict": stable[dataset][1] or "",
            **_pictures(params, dataset, inputs),
            "quality": _table(quality[dataset]),
            "explained": _table(explained[dataset]),
            "sweep": _table(sweeps[dataset]),
            "ablation": _table(ablations[dataset]),
            "commands": _commands(params, scale, dataset, found),
        }
        for dataset in datasets
    ]
    evidence = claims.Evidence(
        rows,
        found,
        sweeps=swept,
        looks={dataset: measured.looks_at_digit(metrics, dataset) for dataset in datasets},
        attempts={dataset: measured.read_attempts(metrics, params, dataset) for dataset in datasets},
    )
    answered = claims.claims(evidence, datasets, scale=scale)
    with_gan = paper.PUBLISHED["Original + GAN"]
    gan = [(name.replace("_", "-"), with_gan[name]) for name in datasets if name in with_gan]
    page = render(
        TEMPLATE,
        {
            "scale": scale,
            "seeds": params.seeds,
            "sections": sections,
            "header": tables.header(rows),
            "chart": {
                "left": BAR_LEFT,
                "width": BAR_WIDTH,
                "step": BAR_STEP,
                "height": BAR_STEP * len(found),
                "chance": _x(CHANCE),
            },
            "claims": answered,
            "claims_how": claims.HOW,
            "glossary": glossary,
            "distinct": any(stability.knows_distinct(rows, dataset) for dataset in datasets),
            "gan": [(title, tables.percent(figure.train), tables.percent(figure.test)) for title, figure in gan],
            "quoted": paper.QUOTED,
            "who": paper.WHO,
            "reproduction": paper.RERUN,
            "not_held": paper.NOT_HELD,
            "fetch": params.scales[scale].fetch,
            "has_oracle": any(experiment.is_oracle for experiment in found),
        },
    )
    if (size := len(page.encode())) > MAX_BYTES:
        raise InputError(
            f"report: found a page of {size:,} bytes, expected at most {MAX_BYTES:,}; "
            "shorten datasets_run in params.yaml and run `dvc repro`"
        )
    (folder / "index.html").write_text(page, encoding="utf-8")
    (folder / "results.json").write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    tables.write_csv(folder / "results.csv", rows)
    of_page = {
        "accuracy": accuracy,
        "quality": quality,
        "explained": explained,
        "sweep": sweeps,
        "ablation": ablations,
        "stability": {dataset: table for dataset, (table, _) in stable.items()},
    }
    shown = {name: {one: table for one, table in parts.items() if table.rows} for name, parts in of_page.items()}
    _write_tables(folder, {name: parts for name, parts in shown.items() if parts})
    summary = tables.summary_text(rows, scale=scale, datasets=datasets, found=found, num_seeds=len(params.seeds))
    (folder / "summary.txt").write_text(summary + _more_text(shown), encoding="utf-8")
    return len(rows)


_TITLES = {
    "sweep": "By number of counterfactuals, accuracy in percent",
    "stability": "Accuracy by environment, in percent",
    "ablation": "By change of the generator, counterfactuals only, in percent",
}


def _more_text(shown: Mapping[str, Mapping[str, measured.Table]]) -> str:
    """What the summary says beside accuracies."""
    text = ""
    for name, title in _TITLES.items():
        if parts := shown.get(name):
            lines = [("data set", *next(iter(parts.values())).header)]
            lines += [(tables.dataset_title(one), *row) for one, table in parts.items() for row in table.rows]
            group = len(next(iter(parts.values())).rows)
            if len({len(line) for line in lines}) == 1:
                text += "\n".join(["", title, "", *tables.aligned(lines, num_names=2, group=group)]) + "\n"
    return text


def _write_tables(folder: Path, shown: Mapping[str, Mapping[str, measured.Table]]) -> None:
    """Every table of the page as CSV and LaTeX, a file per table and data set."""
    for name, parts in shown.items():
        for dataset, table in parts.items():
            with (folder / f"{name}-{dataset}.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerows([table.header, *table.rows])
            title = f"{name}, {tables.dataset_title(dataset)}"
            text = latex.tabular(title, table.header, table.rows)
            (folder / f"{name}-{dataset}.tex").write_text(text, encoding="utf-8")
