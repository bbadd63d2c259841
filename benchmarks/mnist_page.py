"""Render docs/results/mnist.md: the paper's MNIST tables beside ours, from the metrics in data/metrics, finished cells alone.

Usage: python -m benchmarks.mnist_page
"""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from benchmarks.common import experiment_command
from benchmarks.outdated import MARK, Lock, marked
from cgn.config import Params, load_params
from cgn.evaluation import claims, glossary, measured, paper, stability, tables

ROOT = Path(__file__).parents[1]
ScaleName = Literal["full", "demo"]
PAGE = ROOT / "docs" / "results" / "mnist.md"
VARIANCES = ROOT / "docs" / "results" / "colour_variance.json"
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
_INTRODUCTION = f"""# Measured: MNIST

The paper's Table 2, Figure 7 and Table 5 beside ours and more, per scale and data set as far as they are measured, made by
`python -m benchmarks.mnist_page` from the metrics that are committed here, with the seeds that are finished. Percent unless said
otherwise, mean ± standard deviation over seeds; “worst seed” is the lowest test accuracy of one. Chance is 10. The paper's
figures are of MNIST train[50000:], “paper's test split”; “test” is the MNIST test set. Models are the last ones of their run,
unless a row says selection: no model was selected on a test set. Three parameters were not found without one, though
([what fell short](pipeline.md#what-fell-short)). Rows that learn from different kinds of images are no rivals: a user
with fully biased data has biased images and what a generator makes of them, and neither images that contradict a cue, nor
environments, nor the oracle's. “Distinct” are double-colored test images whose two colours differ, “low contrast” the tenth in
which they are one. “Says texture” and “says background” are how often the prediction is the class of that cue. “Gap” is how many
points the mean stays below the better of the oracles (the same classifier on images whose factors are truly random). ECE is the
expected calibration error. What the paper mixed for its row with counterfactuals is not in our sources: ours sees 5 % biased
images, which is the share of 50,000 beside a million counterfactuals.

The command of a row makes all its seeds again, beside your working tree; a row that is missing has the same command with its
own names in it. `dvc exp apply`, with the experiment's name that the command ends with, brings the result into the working tree, and
`python -m benchmarks.mnist_page` shows it. See [what to do next](../../README.md#what-to-do-next). Figures of another CPU type
differ in the last digits; what else to know of them stands in [what fell short](pipeline.md#what-fell-short). {MARK} behind a
name says that a later change of code or parameters, as `dvc.lock` knows them, would make the row anew, or that it learned from
counterfactuals of a generator that was trained anew on another CPU type; verdicts on claims rest on such rows too.

Counterfactuals keep the shapes of training images, and where these have layers of one colour, the colours of these layers. That
is the black background of colored MNIST and both layers of double-colored MNIST, where the textures that the CGN learned so
decide no more than its masks. All classifiers of double-colored MNIST's shapes, the oracle and the biased ones too, begin with
filters that are edge detectors (`classifier.plain_area_lr_share`).

The test images alone leave an accuracy uncertain by two standard errors: at demo scale, of 1,000 test images, ±2 points at 90 % and ±3
at 70 %, and of their 98 of low contrast ±10 at 50 %; at full scale, of 10,000, ±0.6 at 90 %. What another seed would change comes on
top, and one seed does not tell it. The oracle is no ceiling: each training digit
comes to it in one colouring (3,500 images at demo scale, 48,000 at full scale), while counterfactuals show a digit in several,
so that gaps can be negative. Environments are the training digits once more; only “test” and “paper's test split” have others.
"""
_PICTURES = """## Counterfactuals: colored MNIST at full scale

Below each, the class of its shape, of its object's colour and of its background, which all classes share. In the training images
the first two are always equal. `dvc exp run --temp -S scale=full illustrate@full-colored` draws it into `data/sheets`; Wildlife MNIST
at demo scale stands in the [README](../../README.md).

![Thirty digits in colours of classes drawn at random](../images/counterfactuals-colored.png)

## Tangled and untangled: colored MNIST at demo scale

Left, the beta-VAE's two-dimensional code, walked through from -2 to 2 in both directions: wherever the shape changes, the
colour changes with it, since in biased images one says the other (the paper's appendix A.1). Right, the CGN: a shape per
column and a colour per row, each with a label of its own. Both are drawn into `data/measured` by
`dvc exp run --temp -S scale=demo -S 'generators=[cgn,vae]' measure@demo-colored-vae-0 measure@demo-colored-cgn-0`.

![Digits decoded along both axes of the VAE's code](../images/vae-traversal.png)
![The CGN's digits, by shape and by colour](../images/cgn-factors.png)

Where the VAE's codes of training images lie, coloured by class as the legend says:

![Codes of training images](../images/vae-codes.png)
"""


def render(metrics: Path, params: Params, variances: Path | None = None) -> str:
    """The page: tables per scale and data set, of the cells whose metrics lie in `metrics`, and one of the colours' variance."""
    found = _every_experiment(params)
    lines = [_INTRODUCTION.rstrip()]
    for scale, title in _SCALES.items():
        budget = params.scales[scale]
        lines += ["", f"## {title}", ""]
        lines.append(
            f"{budget.generator.num_images:,} images of generator training, {budget.generate.num_images:,} counterfactuals, "
            f"{budget.classifier.num_images:,} images of classifier training."
        )
        lines += _overview(metrics / scale, params, scale=scale, found=found)
        lines += _claims(metrics / scale, params, scale=scale, found=found)
        for dataset in type(params.datasets).model_fields:
            reading = [one for one in found if one.factor == "shape"]
            parts = [
                *_table(metrics / scale, params, scale=scale, dataset=dataset, found=reading),
                *_stability(metrics / scale, params, scale=scale, dataset=dataset, found=found),
                *_sweep(metrics / scale, params, scale=scale, dataset=dataset),
                *_ablations(metrics / scale, params, scale=scale, dataset=dataset),
                *_quality(metrics / scale, params, scale=scale, dataset=dataset),
                *_explained(metrics / scale, params, scale=scale, dataset=dataset, found=found),
            ]
            if parts:
                lines += ["", f"### {tables.dataset_title(dataset)}", *parts]
    return "\n".join([*lines, "", *(_variances(variances, found) if variances else []), *_meanings(lines), _PICTURES])


def _every_experiment(params: Params) -> list[tables.Experiment]:
    """All that the sections define, listed or not."""
    mixes = [name for name, method in params.methods.items() if "generated" in method.mix]
    listed = {
        "classifiers": [name for name in params.methods if name not in mixes],
        "generators": list(params.generator),
        "mixes": mixes,
    }
    return tables.experiments(params.model_copy(update=listed))


def _overview(folder: Path, params: Params, *, scale: str, found: Sequence[tables.Experiment]) -> list[str]:
    """The paper's Table 2 in its form: a row per method, and for every data set our accuracy and the published one."""
    datasets = list(type(params.datasets).model_fields)
    finished = {
        (dataset, one): seeds
        for dataset in datasets
        for one in found
        if one.factor == "shape" and (seeds := _seeds(folder / dataset, one.name))
    }
    rows = {
        (dataset, one): _rows(folder, {one: seeds}, scale=scale, dataset=dataset)
        for (dataset, one), seeds in finished.items()
    }
    papers_split = any(row["test_set"] == "paper_test" for of_cell in rows.values() for row in of_cell)
    test_set = "paper_test" if papers_split else "test"
    body: list[tuple[str, ...]] = []
    for one in found:
        cells: list[str] = []
        for dataset in datasets:
            own = rows.get((dataset, one), [])
            value = tables.spread(own, dataset=dataset, experiment=one.name, test_set=test_set, metric="accuracy")
            cells += [
                tables.percent_spread(value),
                tables.published_test(one, dataset),
                tables.reproduced_test(one, dataset),
            ]
        seeds_of = {dataset: finished[dataset, one] for dataset in datasets if (dataset, one) in finished}
        targets = [one.target(scale, dataset, seed) for dataset, seeds in seeds_of.items() for seed in seeds]
        if targets:
            lists = {"seeds": sorted({seed for of in seeds_of.values() for seed in of}), **_lists(one)}
            body.append((one.label, one.regime, *cells, _command(params, scale, targets, lists)))
    if not body:
        return []
    header = [text for one in datasets for text in (tables.dataset_title(one), "paper", "reproductions")]
    split = tables.PAPERS_SPLIT if papers_split else "test images"
    title = (
        f"The paper's Table 2: accuracy on the {split}, of one seed where no ± stands; {MARK} where one of a row's cells or "
        "more would be made anew. More of every cell stands below."
    )
    return [
        "",
        "### All data sets",
        *_part(title, ("method", "learns from", *header), body),
        "",
        f"Reproductions: {paper.WHO}.",
    ]


def _table(folder: Path, params: Params, *, scale: str, dataset: str, found: Sequence[tables.Experiment]) -> list[str]:
    """Lines of Markdown; none where no cell is finished."""
    finished = {one: seeds for one in found if (seeds := _seeds(folder / dataset, one.name))}
    rows = _rows(folder, finished, scale=scale, dataset=dataset)
    if not rows:
        return []

    def spread(one: tables.Experiment, test_set: str, metric: str) -> tables.Spread | None:
        return tables.spread(rows, dataset=dataset, experiment=one.name, test_set=test_set, metric=metric)

    held = {(row["test_set"], row["metric"]) for row in rows}
    shown = {column: part for column, part in _COLUMNS.items() if part in held}
    accuracies = {one: value for one in finished if (value := spread(one, "test", "accuracy"))}
    best = max((value.mean for one, value in accuracies.items() if one.is_oracle), default=None)
    header = (
        "method",
        "learns from",
        "real share",
        "seeds",
        *shown,
        "worst seed",
        "gap",
        "paper",
        "reproductions",
        "command",
    )
    table: list[tuple[str, ...]] = []
    for one, value in accuracies.items():
        table.append(
            (
                one.label,
                one.regime,
                f"{100 * one.real_share:.0f}",
                ", ".join(map(str, finished[one])),
                *(tables.percent_spread(spread(one, *part)) for part in shown.values()),
                tables.percent(min(value.values)),
                tables.DASH if best is None or one.is_oracle else tables.percent(best - value.mean),
                tables.published_test(one, dataset),
                tables.reproduced_test(one, dataset),
                _cells_command(params, one, scale, dataset, finished[one]),
            )
        )
    return ["", *_markdown(header, table)]


def _stability(
    folder: Path, params: Params, *, scale: str, dataset: str, found: Sequence[tables.Experiment]
) -> list[str]:
    """The paper's Table 5, once there are classifiers of several factors."""
    finished = {one: seeds for one in found if one.real_share == 0 and (seeds := _seeds(folder / dataset, one.name))}
    rows = _rows(folder, finished, scale=scale, dataset=dataset)
    table, verdict = stability.table_and_verdict(rows, dataset, list(finished))
    if verdict is None:
        return []
    commands = (_cells_command(params, one, scale, dataset, seeds) for one, seeds in finished.items())
    body = [(*row, command) for row, command in zip(table.rows, commands, strict=True)]
    distinct = ", on images whose two colours differ" if stability.knows_distinct(rows, dataset) else ""
    title = (
        "Which signal is causal (the paper's Table 5, whose numbers are not in our sources): accuracy by how often an "
        f"environment's cues are right{distinct}. A classifier is told one factor of counterfactuals "
        "([what the columns mean](#what-the-columns-mean))."
    )
    return [*_part(title, table.header, body), "", str(verdict)]


def _sweep(folder: Path, params: Params, *, scale: str, dataset: str) -> list[str]:
    """The paper's Figure 7, as far as its cells are finished."""
    found = _sweep_cells(folder, params, dataset)
    table = measured.sweep_table([cell for cell, _ in found], dataset)
    commands = []
    for cell, seeds in found:
        numbers = (cell.generator, cell.num_images, cell.cf_ratio, cell.real_percent)
        targets = [f"sweep@{scale}-{dataset}-{'-'.join(map(str, numbers))}-{seed}" for seed in seeds]
        own = [cell.generator]
        lists: dict[str, list[Any]] = {
            "seeds": seeds,
            "generators": own,
            "sweep.generators": own,
            "sweep.num_images": [cell.num_images],
            "sweep.real_percent": [cell.real_percent],
        }
        ratios = {"sweep.cf_ratio": [cell.cf_ratio]}
        if params.generator[cell.generator].collapse is None:  # without mechanisms no other ratio is allowed
            commands.append(_command(params, scale, targets, lists, ratios))
        else:
            commands.append(_command(params, scale, targets, {**lists, **ratios}))
    title = (
        "By number of counterfactuals and how many share a shape (the paper's Figure 7, whose numbers are not in our "
        f"sources; the reproduction is {paper.RERUN}; [what the columns mean](#what-the-columns-mean)):"
    )
    return _part(title, table.header, [(*row, command) for row, command in zip(table.rows, commands, strict=True)])


def _sweep_cells(folder: Path, params: Params, dataset: str) -> list[tuple[measured.SweepCell, list[int]]]:
    """The finished cells, each with its seeds."""
    found: list[tuple[measured.SweepCell, list[int]]] = []
    for (generator, *numbers), seeds in _finished(folder / dataset / "sweep", num_parts=4):
        images, ratio, real = map(int, numbers)
        lists = {"generators": [generator], "num_images": [images], "cf_ratio": [ratio], "real_percent": [real]}
        update = {"sweep": params.sweep.model_copy(update=lists), "seeds": seeds}
        found += [(cell, seeds) for cell in measured.sweep_cells(folder, params.model_copy(update=update), dataset)]
    return found


def _claims(folder: Path, params: Params, *, scale: str, found: Sequence[tables.Experiment]) -> list[str]:
    """What the paper and its reproductions claim, judged by all finished cells of a scale."""
    rows: list[dict[str, Any]] = []
    sweeps: dict[str, list[measured.SweepCell]] = {}
    looks: dict[str, dict[str, tables.Estimate]] = {}
    attempts: dict[str, dict[str, dict[int, int]]] = {}
    finished: set[tables.Experiment] = set()
    for dataset in type(params.datasets).model_fields:
        of_dataset = {one: seeds for one in found if (seeds := _seeds(folder / dataset, one.name))}
        if not of_dataset:
            continue
        finished |= of_dataset.keys()
        rows += _rows(folder, of_dataset, scale=scale, dataset=dataset)
        sweeps[dataset] = [cell for cell, _ in _sweep_cells(folder, params, dataset)]
        explained = folder / dataset / "explained.json"
        looks[dataset] = measured.looks_at_digit(folder, dataset) if explained.is_file() else {}
        attempts[dataset] = {
            generator: measured.read_attempts(folder, _only(params, generator, seeds), dataset)[generator]
            for (generator,), seeds in _finished(folder / dataset / "quality", num_parts=1)
        }
    known = [one for one in found if one in finished]
    evidence = claims.Evidence(rows, known, sweeps=sweeps, looks=looks, attempts=attempts)
    body = [
        (claim.text, claim.source, *verdict, f"`{claim.command}`") if index == 0 else ("", "", *verdict, "")
        for claim in claims.claims(evidence, list(sweeps), scale=scale)
        for index, verdict in enumerate(claim.verdicts)
    ]
    if not body:
        return []
    title = f"What the paper and its reproductions claim, judged by the cells below. {claims.HOW}"
    return [
        "",
        f"### Claims, {scale} scale",
        "",
        title,
        "",
        *_markdown(("claim", "whose", "data set", "verdict", "numbers", "command"), body),
    ]


def _explained(
    folder: Path, params: Params, *, scale: str, dataset: str, found: Sequence[tables.Experiment]
) -> list[str]:
    """Where classifiers look, of those that the last run explained."""
    path = folder / dataset / "explained.json"
    if not path.is_file():
        return []
    known = json.loads(path.read_text(encoding="utf-8")).get("classifiers", {})
    table = measured.explained_table(folder, dataset, [one for one in found if one.name in known])
    command = _command(params, scale, [f"explain@{scale}-{dataset}"], {})
    title = (
        "Where classifiers look, and what their features tell apart ([what the columns mean](#what-the-columns-mean)):"
    )
    return _part(title, table.header, [(*row, command) for row in table.rows])


def _ablations(folder: Path, params: Params, *, scale: str, dataset: str) -> list[str]:
    header: tuple[str, ...] = ()
    body: list[tuple[str, ...]] = []
    for (generator, change), seeds in _finished(folder / dataset / "ablation", num_parts=2):
        update = {"ablate": params.ablate.model_copy(update={"generators": [generator], "changes": [change]})}
        header, rows = measured.ablation_table(folder, params.model_copy(update={**update, "seeds": seeds}), dataset)
        targets = [f"ablate@{scale}-{dataset}-{generator}-{change}-{seed}" for seed in seeds]
        command = _command(params, scale, targets, {"seeds": seeds, "ablate.generators": [generator]})
        body += [(*row, command) for row in rows]
    title = "One thing of the generator changed ([what the columns mean](#what-the-columns-mean)):"
    return _part(title, header, body)


def _quality(folder: Path, params: Params, *, scale: str, dataset: str) -> list[str]:
    header: tuple[str, ...] = ()
    body: list[tuple[str, ...]] = []
    for (generator,), seeds in _finished(folder / dataset / "quality", num_parts=1):
        header, rows = measured.quality_table(folder, _only(params, generator, seeds), dataset)
        targets = [f"measure@{scale}-{dataset}-{generator}-{seed}" for seed in seeds]
        command = _command(params, scale, targets, {"seeds": seeds, "generators": [generator]})
        body += [(*row, command) for row in rows if row not in [known[:-1] for known in body]]  # real images stand once
    title = "Counterfactuals as numbers ([what the columns mean](#what-the-columns-mean)):"
    return _part(title, header, body)


def _lists(one: tables.Experiment) -> dict[str, list[Any]]:
    """The lists of params.yaml that have to name an experiment."""
    if one.recipe is None:
        return {"classifiers": [one.method]}
    return {"generators": [one.name.removesuffix(f"-{one.method}")], "mixes": [one.method]}


def _cells_command(params: Params, one: tables.Experiment, scale: str, dataset: str, seeds: list[int]) -> str:
    targets = [one.target(scale, dataset, seed) for seed in seeds]
    only = {"datasets_run": [dataset]} if one.factor == "background" else {}  # others may have none to tell
    return _command(params, scale, targets, {"seeds": seeds, **_lists(one)}, only)


def _command(
    params: Params,
    scale: str,
    targets: Sequence[str],
    needed: Mapping[str, Sequence[Any]],
    only: Mapping[str, Sequence[Any]] = MappingProxyType({}),
) -> str:
    """What makes these stages beside the working tree: with those lists set that do not hold already what is needed, and those
    that may hold nothing else.
    """
    lacking = {name: names for name, names in needed.items() if not set(names) <= set(attrgetter(name)(params))}
    return f"`{shlex.join(experiment_command(scale, {**lacking, **only}, targets))}`"


def _only(params: Params, generator: str, seeds: list[int]) -> Params:
    return params.model_copy(update={"generators": [generator], "seeds": seeds})


def _meanings(page: Sequence[str]) -> list[str]:
    """The glossary, table by table, of those that the page's lines hold."""
    known: dict[str, tuple[str, glossary.Terms]] = {
        "Environments": ("Which signal is causal", glossary.STABILITY),
        "Figure 7": ("By number of counterfactuals", glossary.SWEEP),
        "Ablations": ("One thing of the generator changed", glossary.ABLATION),
        "Counterfactuals as numbers": ("Counterfactuals as numbers", glossary.QUALITY),
        "Where classifiers look": ("Where classifiers look", glossary.EXPLAINED),
    }
    lines = ["## What the columns mean"]
    for title, (begins, terms) in known.items():
        if not any(line.startswith(begins) for line in page):
            continue
        lines += ["", f"**{title}**", "", *(f"- {name}: {meaning}." for name, meaning in terms)]
        lines += ["", glossary.QUALITY_NOTE] if terms is glossary.QUALITY else []
    return [*lines, ""]


def _variances(path: Path, found: Sequence[tables.Experiment]) -> list[str]:
    """Colored MNIST by the variance of its colours, once `python -m benchmarks.colour_variance` has run."""
    if not path.is_file():
        return []
    runs = json.loads(path.read_text(encoding="utf-8"))
    names = list(dict.fromkeys(name for run in runs for name in run["test"]))
    labels = {one.name: one.label for one in found}
    body: list[tuple[str, ...]] = []
    for run in runs:
        spreads = (tables.spread_of(run["test"][name]) if name in run["test"] else None for name in names)
        cells = (tables.percent_spread(value) for value in spreads)
        seeds = ", ".join(map(str, run["seeds"]))
        body.append((run["scale"], f"{run['variance']:g}", seeds, *cells, f"`{run['command']}`"))
    title = "Test accuracy; a variance of 0.02 is that of all other tables:"
    header = ("scale", "variance", "seeds", *(labels.get(name, name) for name in names))
    return ["## Colored MNIST by the variance of its colours", *_part(title, header, body), ""]


def _finished(folder: Path, *, num_parts: int) -> Iterable[tuple[list[str], list[int]]]:
    """The cells whose metrics lie in a folder, as the parts of their names and the seeds that are there."""

    def name_of(parts: list[str]) -> tuple[str | int, ...]:
        return tuple(int(part) if part.isdigit() else part for part in parts[:-1])

    found = (path.stem.rsplit("-", num_parts) for path in folder.glob("*.json"))
    cells = sorted((parts for parts in found if len(parts) == num_parts + 1), key=lambda parts: (name_of(parts), parts))
    for _, group in groupby(cells, key=name_of):
        of_cell = list(group)
        yield of_cell[0][:-1], sorted(int(parts[-1]) for parts in of_cell)


def _rows(
    folder: Path, finished: dict[tables.Experiment, list[int]], *, scale: str, dataset: str
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for one, seeds in finished.items():
        cells = tables.read_cells(folder, datasets=[dataset], names=[one.name], seeds=seeds)
        rows += tables.result_rows(scale, cells, [one])
    return rows


def _part(title: str, header: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """A table whose rows end with their commands, below what it shows; no lines where it has no row."""
    return ["", title, "", *_markdown((*header, "command"), body)] if body else []


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    head, *body = [f"| {' | '.join(row)} |" for row in (header, *rows)]
    return [head, f"|{'---|' * len(header)}", *body]


def _seeds(folder: Path, name: str) -> list[int]:
    ends = (path.stem.removeprefix(f"{name}-") for path in folder.glob(f"{name}-*.json"))
    return sorted(int(end) for end in ends if end.isdigit())


def main() -> None:
    """Write the page."""
    params = ROOT / "params.yaml"
    page = render(ROOT / "data" / "metrics", load_params(params), VARIANCES)
    PAGE.write_text(marked(page, Lock(ROOT / "dvc.lock", params)), encoding="utf-8")


if __name__ == "__main__":
    main()
