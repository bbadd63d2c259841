"""Render docs/results/mnist.md: the paper's MNIST table beside ours, from the metrics in data/metrics, finished cells alone.

Usage: python -m benchmarks.mnist_page
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from cgn.config import Params, load_params
from cgn.evaluation import paper, tables

ROOT = Path(__file__).parents[1]
ScaleName = Literal["full", "demo"]
PAGE = ROOT / "docs" / "results" / "mnist.md"
# What the page shows where there are metrics, in this order: classifiers on real images, and mixes with generated ones.
_CLASSIFIERS = (
    "original",
    "oracle",
    "oracle_5x",
    "lntl",
    "lff",
    "erm_99",
    "lff_99",
    "erm_5",
    "irm_2",
    "irm_5",
    "group_dro_5",
)
_MIXES = ("cf_only", "original_cf")
_SCALES: dict[ScaleName, str] = {
    "full": "Full scale: the MNIST digits, and the 20 photographs of the paper's Wildlife MNIST",
    "demo": "Demo scale: 5,000 bundled digits and procedural textures; one run of everything takes minutes",
}
_COLUMNS = {  # column -> test set and metric
    "test": ("test", "accuracy"),
    tables.PAPERS_SPLIT: ("paper_test", "accuracy"),
    "worst class": ("test", "worst_class_accuracy"),
    "distinct": ("test", "distinct.accuracy"),
    "low contrast": ("test", "low_contrast.accuracy"),
    "says texture": ("test", "texture_agreement"),
    "says background": ("test", "background_agreement"),
    "ECE": ("test", "ece"),
}
_INTRODUCTION = """# Measured: MNIST

The paper's Table 2 beside ours, made by `python -m benchmarks.mnist_page` from the metrics that are committed here, with
seeds as far as they are finished. Percent, mean ± standard deviation over seeds; “worst seed” is the lowest test accuracy of
one. Chance is 10. Published figures are of MNIST train[50000:], “paper's test split”; “test” is the MNIST test set. Models
are the last ones of their run: nothing was selected on any test set. “Distinct” are double-colored test images whose two
colours differ, “low contrast” the tenth in which they are one. “Says texture” and “says background” are how often the
prediction is the class of that cue. “Gap” is how many points the mean stays below the better of the oracles (the same
classifier on images whose factors are truly random). ECE is the expected calibration error.

The command of a row makes it again, one per seed, once `params.yaml` says `scale` and `seeds` and lists the row's name; see
[how to](../howto.md). Figures of another CPU type differ in the last digits.
"""


def render(metrics: Path, params: Params) -> str:
    """The page: a table per scale and data set, of the cells whose metrics lie in `metrics`."""
    every = params.model_copy(
        update={
            "classifiers": [name for name in _CLASSIFIERS if name in params.methods],
            "generators": list(params.generator),
            "mixes": list(_MIXES),
        }
    )
    lines = [_INTRODUCTION.rstrip()]
    for scale, title in _SCALES.items():
        budget = params.scales[scale]
        lines += ["", f"## {title}", ""]
        lines.append(
            f"{budget.generator.num_images:,} images of generator training, {budget.generate.num_images:,} counterfactuals, "
            f"{budget.classifier.num_images:,} images of classifier training."
        )
        for dataset in type(params.datasets).model_fields:
            if table := _table(metrics / scale, scale=scale, dataset=dataset, found=tables.experiments(every)):
                lines += ["", f"### {tables.dataset_title(dataset)}", "", *table]
    return "\n".join([*lines, ""])


def _table(folder: Path, *, scale: str, dataset: str, found: Sequence[tables.Experiment]) -> list[str]:
    finished = {experiment: _seeds(folder / dataset, experiment.name) for experiment in found}
    rows: list[dict[str, Any]] = []
    for experiment, seeds in finished.items():
        cells = tables.read_cells(folder, datasets=[dataset], names=[experiment.name], seeds=seeds)
        rows += tables.result_rows(scale, cells, [experiment])
    shown = {column: part for column, part in _COLUMNS.items() if _has(rows, *part)}
    best = max(
        (value.mean for one in finished if one.is_oracle and (value := _accuracy(rows, dataset, one))), default=None
    )
    table = [("method", "real share", "seeds", *shown, "worst seed", "gap", "published", "command")]
    for experiment, seeds in finished.items():
        value = _accuracy(rows, dataset, experiment)
        if value is None:
            continue
        numbers = (_spread(rows, dataset, experiment, *part) for part in shown.values())
        figure = paper.published(experiment.method, experiment.recipe, dataset)
        source = (
            tables.percent(figure.test) + (tables.REPRODUCED if figure.source == paper.RERUN else "")
            if figure
            else None
        )
        table.append(
            (
                experiment.label,
                f"{100 * experiment.real_share:.0f}",
                ", ".join(map(str, seeds)),
                *(tables.percent_spread(number) for number in numbers),
                tables.percent(min(value.values)),
                tables.DASH if best is None or experiment.is_oracle else tables.percent(best - value.mean),
                source or paper.NOT_HELD,
                f"`{experiment.command(scale, dataset, seeds[0])}`",
            )
        )
    if len(table) == 1:
        return []
    widths = ["|".join(["", *("---" for _ in table[0]), ""])]
    lines = [f"| {' | '.join(row)} |" for row in table]
    notes = ["", f"\\* {paper.RERUN}; the paper's own is not in our sources."]
    return [lines[0], *widths, *lines[1:], *(notes if any(tables.REPRODUCED in line for line in lines) else [])]


def _seeds(folder: Path, name: str) -> list[int]:
    return sorted(
        int(path.stem.removeprefix(f"{name}-"))
        for path in folder.glob(f"{name}-*.json")
        if path.stem.removeprefix(f"{name}-").isdigit()
    )


def _has(rows: Sequence[Mapping[str, Any]], test_set: str, metric: str) -> bool:
    return any(row["test_set"] == test_set and row["metric"] == metric for row in rows)


def _spread(
    rows: Sequence[Mapping[str, Any]], dataset: str, experiment: tables.Experiment, test_set: str, metric: str
) -> tables.Spread | None:
    return tables.spread(rows, dataset=dataset, experiment=experiment.name, test_set=test_set, metric=metric)


def _accuracy(rows: Sequence[Mapping[str, Any]], dataset: str, experiment: tables.Experiment) -> tables.Spread | None:
    return _spread(rows, dataset, experiment, "test", "accuracy")


def main() -> None:
    """Write the page."""
    PAGE.write_text(render(ROOT / "data" / "metrics", load_params(ROOT / "params.yaml")), encoding="utf-8")


if __name__ == "__main__":
    main()
