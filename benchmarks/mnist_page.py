"""Render docs/results/mnist.md: the paper's MNIST table beside ours, from the metrics in data/metrics, finished cells alone.

Usage: python -m benchmarks.mnist_page
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from cgn.config import Params, load_params
from cgn.evaluation import paper, tables

ROOT = Path(__file__).parents[1]
ScaleName = Literal["full", "demo"]
PAGE = ROOT / "docs" / "results" / "mnist.md"
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
are the last ones of their run, unless a row says selection: nothing was selected on any test set. “Distinct” are
double-colored test images whose two colours differ, “low contrast” the tenth in which they are one. “Says texture” and “says
background” are how often the prediction is the class of that cue. “Gap” is how many points the mean stays below the better of
the oracles (the same classifier on images whose factors are truly random). ECE is the expected calibration error.

The command of a row makes it again, one per seed, once `params.yaml` says `scale` and `seeds` and lists the row's name; see
[what to do next](../../README.md#what-to-do-next). Figures of another CPU type differ in the last digits;
what else to know of them stands in [what fell short](pipeline.md#what-fell-short).
"""


def render(metrics: Path, params: Params) -> str:
    """The page: a table per scale and data set, of the cells whose metrics lie in `metrics`."""
    found = _every_experiment(params)
    lines = [_INTRODUCTION.rstrip()]
    for scale, title in _SCALES.items():
        budget = params.scales[scale]
        lines += ["", f"## {title}", ""]
        lines.append(
            f"{budget.generator.num_images:,} images of generator training, {budget.generate.num_images:,} counterfactuals, "
            f"{budget.classifier.num_images:,} images of classifier training."
        )
        for dataset in type(params.datasets).model_fields:
            if table := _table(metrics / scale, scale=scale, dataset=dataset, found=found):
                lines += ["", f"### {tables.dataset_title(dataset)}", "", *table]
    return "\n".join([*lines, ""])


def _every_experiment(params: Params) -> list[tables.Experiment]:
    """Of all that the sections define, listed or not, those that read the digit."""
    mixes = [name for name, method in params.methods.items() if "generated" in method.mix]
    listed = {
        "classifiers": [name for name in params.methods if name not in mixes],
        "generators": list(params.generator),
        "mixes": mixes,
    }
    return [one for one in tables.experiments(params.model_copy(update=listed)) if one.factor == "shape"]


def _table(folder: Path, *, scale: str, dataset: str, found: Sequence[tables.Experiment]) -> list[str]:
    """Lines of Markdown; none where no cell is finished."""
    finished = {one: seeds for one in found if (seeds := _seeds(folder / dataset, one.name))}
    rows: list[dict[str, Any]] = []
    for one, seeds in finished.items():
        cells = tables.read_cells(folder, datasets=[dataset], names=[one.name], seeds=seeds)
        rows += tables.result_rows(scale, cells, [one])
    if not rows:
        return []

    def spread(one: tables.Experiment, test_set: str, metric: str) -> tables.Spread | None:
        return tables.spread(rows, dataset=dataset, experiment=one.name, test_set=test_set, metric=metric)

    held = {(row["test_set"], row["metric"]) for row in rows}
    shown = {column: part for column, part in _COLUMNS.items() if part in held}
    accuracies = {one: value for one in finished if (value := spread(one, "test", "accuracy"))}
    best = max((value.mean for one, value in accuracies.items() if one.is_oracle), default=None)
    table = [("method", "real share", "seeds", *shown, "worst seed", "gap", "published", "command")]
    for one, value in accuracies.items():
        table.append(
            (
                one.label,
                f"{100 * one.real_share:.0f}",
                ", ".join(map(str, finished[one])),
                *(tables.percent_spread(spread(one, *part)) for part in shown.values()),
                tables.percent(min(value.values)),
                tables.DASH if best is None or one.is_oracle else tables.percent(best - value.mean),
                tables.published_test(one, dataset),
                f"`{one.command(scale, dataset, finished[one][0])}`",
            )
        )
    head, *body = [f"| {' | '.join(row)} |" for row in table]
    lines = [head, f"|{'---|' * len(table[0])}", *body]
    if any(tables.REPRODUCED in line for line in body):
        lines += ["", f"\\* {paper.RERUN}; the paper's own is not in our sources."]
    return lines


def _seeds(folder: Path, name: str) -> list[int]:
    ends = (path.stem.removeprefix(f"{name}-") for path in folder.glob(f"{name}-*.json"))
    return sorted(int(end) for end in ends if end.isdigit())


def main() -> None:
    """Write the page."""
    PAGE.write_text(render(ROOT / "data" / "metrics", load_params(ROOT / "params.yaml")), encoding="utf-8")


if __name__ == "__main__":
    main()
