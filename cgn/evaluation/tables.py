"""Cells of the experiment grid, the long table of results and its summary; the one place that writes percent."""

import csv
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cgn.config import FactorName, MethodConfig, Params
from cgn.errors import InputError
from cgn.evaluation.paper import NOT_HELD, WHO, published, reproduced
from cgn.mnist import ENVIRONMENTS

MONOLITHIC = {"gan": "GAN", "beta_vae": "VAE"}  # recipes without mechanisms: their images are no counterfactuals

LABELS = {
    "original": "Original, biased",
    "cf_only": "Counterfactuals only",
    "original_cf": "Original + counterfactuals",
    "oracle": "Oracle, unbiased",
    "oracle_5x": "Oracle, five times the budget",
    "original_selected": "Original, unbiased selection",
    "cf_only_texture": "Counterfactuals only, texture told",
    "cf_only_background": "Counterfactuals only, background told",
    "lntl": "LNTL, colours from pixels",
    "lff": "LfF",
    "erm_99": "ERM, 1 % contradict",
    "lff_99": "LfF, 1 % contradict",
    "erm_5": "ERM, 5 environments",
    "irm_2": "IRM, 2 environments",
    "irm_5": "IRM, 5 environments",
    "group_dro_5": "Group DRO, 5 environments",
}
REGIMES = ("biased images", "biased, some contradict", "several environments", "generated images", "unbiased images")
DASH = "\N{EN DASH}"
RESULT_COLUMNS = (
    "scale", "dataset", "experiment", "seed", "test_set", "metric", "value", "paper", "reproduction", "command",
)  # fmt: skip


class Experiment(NamedTuple):
    """One way to train a classifier: a method and the generator it uses, if any."""

    name: str  # as in file names: "original", "cgn-cf_only"
    method: str
    label: str
    regime: str  # what it learns from: one of `REGIMES`, which are not to be compared with each other
    real_share: float
    factor: FactorName  # that it is taught to tell
    recipe: str | None  # of its generator

    @property
    def is_oracle(self) -> bool:
        """Taught with images that no user has."""
        return self.regime == "unbiased images"

    @property
    def tells_one_factor(self) -> bool:
        """Taught with counterfactuals alone, so that its factor is the only signal it can have."""
        return self.real_share == 0 and self.recipe not in MONOLITHIC

    def target(self, scale: str, dataset: str, seed: int) -> str:
        """The stage that writes its metrics, where params.yaml lists it."""
        return f"{'score_with' if self.recipe else 'score'}@{scale}-{dataset}-{self.name}-{seed}"

    def command(self, scale: str, dataset: str, seed: int) -> str:
        """What makes its metrics."""
        return f"dvc repro {self.target(scale, dataset, seed)}"


class Spread(NamedTuple):
    """A number over seeds; `std` is the sample's standard deviation and None for one seed."""

    values: tuple[float, ...]
    mean: float
    std: float | None


class Estimate(NamedTuple):
    """A mean over images and its standard error."""

    mean: float
    error: float


Cells = Mapping[tuple[str, str, int], Mapping[str, Any]]  # (dataset, experiment, seed) -> metrics JSON


def _real_share(method: MethodConfig) -> float:
    """Expected share of real images among those seen."""
    return 1 - method.mix.get("generated", 0.0) / sum(method.mix.values())


def _regime(method: MethodConfig) -> str:
    if "unbiased" in method.mix:
        return "unbiased images"
    if "generated" in method.mix:
        return "generated images"
    environments = [name for name in method.mix if name in ENVIRONMENTS]
    if len(method.mix) > 1:
        return "several environments"
    return "biased, some contradict" if environments else "biased images"


def experiments(params: Params) -> list[Experiment]:
    """The experiments that the lists name, by what they learn from: biased data first, unbiased data last."""
    named: list[tuple[str, str, str | None, str]] = [(name, name, None, "") for name in params.classifiers]
    several = len(params.generators) > 1
    named += [
        (f"{generator}-{mix}", mix, generator, f" ({generator})" if several else "")
        for generator in params.generators
        for mix in params.mixes
    ]
    found = [
        Experiment(
            name,
            method,
            _label(method, params.generator[generator].recipe if generator else None) + suffix,
            _regime(params.methods[method]),
            _real_share(params.methods[method]),
            params.methods[method].label,
            params.generator[generator].recipe if generator else None,
        )
        for name, method, generator, suffix in named
    ]
    return sorted(found, key=lambda experiment: REGIMES.index(experiment.regime))


def _label(method: str, recipe: str | None) -> str:
    label = LABELS.get(method, method.replace("_", " "))
    if (kind := MONOLITHIC.get(recipe or "")) is None:
        return label
    return label.replace("Counterfactuals only", f"{kind} only").replace("counterfactuals", kind)


def read_cells(folder: Path, *, datasets: Sequence[str], names: Sequence[str], seeds: Sequence[int]) -> Cells:
    """The metrics of exactly these cells; files beyond them are ignored.

    Raises: InputError where a cell is missing or is no metrics file.
    """
    cells = {}
    for dataset in datasets:
        for name in names:
            for seed in seeds:
                path = folder / dataset / f"{name}-{seed}.json"
                if not path.is_file():
                    raise InputError(
                        f"report: found no {path}, expected the metrics of {name} on {dataset} with seed {seed}; "
                        "run `dvc repro`"
                    )
                cells[dataset, name, seed] = _read_cell(path)
    return cells


def _read_cell(path: Path) -> Mapping[str, Any]:
    try:
        content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for test_set in ("train", "test"):
            accuracy = content[test_set]["accuracy"]
            if not isinstance(accuracy, float | int):
                raise ValueError(f"accuracy {accuracy!r}")
        for metrics in content.values():
            for name, number in _numbers(metrics):
                is_count = name.endswith("num_images")
                if type(number) not in (int, float) or not 0 <= number <= (float("inf") if is_count else 1):
                    raise ValueError(f"{name} {number!r}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"report: {path} is no metrics file ({type(error).__name__}: {error}), expected accuracies of train and "
            "test; delete it and run `dvc repro`"
        ) from error
    return content


def _numbers(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for metric, value in metrics.items():
        if isinstance(value, Mapping):
            yield from ((f"{metric}.{part}", number) for part, number in value.items())
        elif isinstance(value, list):
            yield from ((f"{metric}.{part}", number) for part, number in enumerate(value))
        else:
            yield metric, value


def result_rows(scale: str, cells: Cells, found: Sequence[Experiment]) -> list[dict[str, Any]]:
    """The long table: a row per number, fractions in [0, 1].

    `paper` is the paper's own figure and `reproduction` that of Bagad et al. 2022; None where not held.
    """
    named = {experiment.name: experiment for experiment in found}
    rows: list[dict[str, Any]] = []
    for (dataset, name, seed), scores in cells.items():
        key = (named[name].method, named[name].recipe, dataset)
        figures = (published(*key), reproduced(*key).get("B"))
        command = named[name].command(scale, dataset, seed)
        for test_set, metrics in scores.items():
            which = {"train": "train", "test": "test", "paper_test": "test"}.get(test_set, "")
            for metric, value in _numbers(metrics):
                both = [getattr(figure, which, None) if metric == "accuracy" else None for figure in figures]
                row = (scale, dataset, name, seed, test_set, metric, value, *both, command)
                rows.append(dict(zip(RESULT_COLUMNS, row, strict=True)))
    return rows


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the long table; an absent published figure is an empty field."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, RESULT_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def spread(
    rows: Sequence[Mapping[str, Any]], *, dataset: str, experiment: str, test_set: str, metric: str
) -> Spread | None:
    """One number over the seeds, from the long table; None where the data set does not define it."""
    wanted = {"dataset": dataset, "experiment": experiment, "test_set": test_set, "metric": metric}
    values = tuple(float(row["value"]) for row in rows if all(row[key] == value for key, value in wanted.items()))
    return spread_of(values) if values else None


def spread_of(values: Sequence[float]) -> Spread:
    """Mean and standard deviation of one number or more."""
    return Spread(tuple(values), statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def percent(value: float | None, absent: str = DASH) -> str:
    """A fraction as percent with one decimal."""
    return absent if value is None else f"{100 * value:.1f}"


def percent_spread(value: Spread | None, absent: str = DASH) -> str:
    """Mean ± standard deviation in percent; the mean alone for one seed."""
    if value is None:
        return absent
    return percent(value.mean) + (f" ± {percent(value.std)}" if value.std is not None else "")


def percent_estimate(value: Estimate | None) -> str:
    """Mean ± standard error in percent."""
    return DASH if value is None else f"{percent(value.mean)} ± {percent(value.error)}"


HEADER = (
    "method",
    "learns from",
    "real share",
    "train",
    "test",
    "paper",
    "reproductions",
    "says texture",
    "says background",
    "distinct",
    "low contrast",
    "worst class",
    "ECE",
)


PAPERS_SPLIT = "paper's test split"  # a column of its own where the scale predicts it


def header(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The column names: `HEADER`, and the paper's test split behind ours where there are figures of it."""
    if not any(row["test_set"] == "paper_test" for row in rows):
        return HEADER
    after = HEADER.index("test") + 1
    return (*HEADER[:after], PAPERS_SPLIT, *HEADER[after:])


def published_test(experiment: Experiment, dataset: str) -> str:
    """The paper's test accuracy in percent."""
    figure = published(experiment.method, experiment.recipe, dataset)
    return percent(figure.test) if figure else NOT_HELD


def reproduced_test(experiment: Experiment, dataset: str) -> str:
    """The reproductions' test accuracies in percent, each with its letter (`paper.WHO`)."""
    figures = reproduced(experiment.method, experiment.recipe, dataset)
    return ", ".join(f"{percent(figure.test)} {letter}" for letter, figure in figures.items()) or DASH


def method_rows(rows: Sequence[Mapping[str, Any]], dataset: str, found: Sequence[Experiment]) -> list[tuple[str, ...]]:
    """A row of text per experiment under `header(rows)`, in percent."""
    has_papers_split = PAPERS_SPLIT in header(rows)
    table: list[tuple[str, ...]] = []
    for experiment in found:

        def cell(test_set: str, metric: str, name: str = experiment.name) -> str:
            return percent_spread(spread(rows, dataset=dataset, experiment=name, test_set=test_set, metric=metric))

        table.append(
            (
                experiment.label,
                experiment.regime,
                f"{100 * experiment.real_share:.0f}",
                cell("train", "accuracy"),
                cell("test", "accuracy"),
                *([cell("paper_test", "accuracy")] if has_papers_split else []),
                published_test(experiment, dataset),
                reproduced_test(experiment, dataset),
                cell("test", "texture_agreement"),
                cell("test", "background_agreement"),
                cell("test", "distinct.accuracy"),
                cell("test", "low_contrast.accuracy"),
                cell("test", "worst_class_accuracy"),
                cell("test", "ece"),
            )
        )
    return table


def dataset_title(dataset: str) -> str:
    """The data set's name as people write it."""
    titles = {
        "colored": "Colored MNIST (own palette)",
        "double_colored": "Double-colored MNIST",
        "wildlife": "Wildlife MNIST",
    }
    return titles.get(dataset, dataset.replace("_", " "))


def aligned(table: Sequence[Sequence[str]], *, num_names: int, group: int) -> list[str]:
    """Lines of a table whose first row names the columns: names to the left, numbers to the right, a blank line between
    groups of rows.
    """
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]

    def line(row: Sequence[str]) -> str:
        fields = [
            field.ljust(width) if column < num_names else field.rjust(width)
            for column, (field, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(fields).rstrip()

    lines = [line(table[0]), "  ".join("-" * width for width in widths)]
    for index, row in enumerate(table[1:]):
        if index and index % group == 0:
            lines.append("")
        lines.append(line(row))
    return lines


def summary_text(
    rows: Sequence[Mapping[str, Any]],
    *,
    scale: str,
    datasets: Sequence[str],
    found: Sequence[Experiment],
    num_seeds: int,
) -> str:
    """The results as a plain text table with aligned columns, for the terminal."""
    table: list[tuple[str, ...]] = [("data set", *header(rows))]
    for dataset in datasets:
        table += [(dataset_title(dataset), *row) for row in method_rows(rows, dataset, found)]
    seeds = "one seed" if num_seeds == 1 else f"mean ± standard deviation over {num_seeds} seeds"
    lines = [f"Results at scale {scale}, in percent, {seeds}; chance is 10.0", ""]
    lines += aligned(table, num_names=3, group=len(found))
    lines += ["", f"Reproductions: {WHO}"]
    return "\n".join(lines) + "\n"
