"""The documents agree with each other and with what is there."""

import copy
import json
import re
import shlex
from collections.abc import Mapping
from functools import reduce
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from benchmarks import colour_variance, mnist_page
from benchmarks.outdated import MARK
from benchmarks.results_page import PAGE, SOURCE, render
from cgn.config import Params, load_params
from cgn.evaluation import paper, tables
from cgn.evaluation.tables import DASH

ROOT = Path(__file__).parents[1]
METRICS = ROOT / "data" / "metrics" / "full"
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_readme_shows_the_measured_accuracies() -> None:
    def percent(dataset: str, name: str) -> str:
        cells = [json.loads((METRICS / dataset / f"{name}-{seed}.json").read_text()) for seed in range(3)]
        return tables.percent_spread(tables.spread_of([cell["paper_test"]["accuracy"] for cell in cells]))

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for title, name in (("Colored", "colored"), ("Double-colored", "double_colored"), ("Wildlife", "wildlife")):
        papers = tables.percent(paper.PUBLISHED["Original + CGN"][name].test)
        cells = [percent(name, "original"), percent(name, "cgn-original_cf"), papers, percent(name, "oracle")]
        assert f"| {title} MNIST | {' | '.join(cells)} |" in readme


def test_the_results_page_shows_the_recorded_figures() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(json.loads(SOURCE.read_text(encoding="utf-8"))), (
        "run python -m benchmarks.results_page"
    )


def test_every_recorded_figure_has_its_bar_and_its_command() -> None:
    results = json.loads(SOURCE.read_text(encoding="utf-8"))
    assert results["figures"]
    assert results["fell_short"][0].startswith("- ")  # else a list's first sentence has lost its beginning
    for figure in results["figures"]:
        assert set(figure) == {"what", "bar", "measured", "command"}
        assert all(figure.values()), figure["what"]


def score_rows(page: str) -> list[list[str]]:
    """The cells of a page's table rows that end with the command of a score."""
    rows = (line for line in page.splitlines() if "` |" in line and "score" in line)
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]


def test_the_mnist_page_shows_finished_cells_their_spread_and_how_far_below_the_oracle(tmp_path: Path) -> None:
    run = "dvc exp run --temp -S scale="
    command = (
        f"{run}demo -S 'seeds=[0,1]' score_with@demo-wildlife-cgn-cf_only-0 score_with@demo-wildlife-cgn-cf_only-1"
    )
    oracle = f"{run}full -S 'seeds=[3]' score@full-colored-oracle-3"
    accuracies = {
        "demo/wildlife/cgn-cf_only-0": 0.80,
        "demo/wildlife/cgn-cf_only-1": 0.84,
        "demo/wildlife/oracle-0": 0.85,
        "demo/wildlife/oracle_5x-0": 0.90,
        "full/colored/oracle-3": 0.97,
    }
    for name, accuracy in accuracies.items():
        path = tmp_path / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({split: {"accuracy": accuracy} for split in ("train", "test")}))
    page = mnist_page.render(tmp_path, load_params(ROOT / "params.yaml"))
    overviews, claims, others = zip(
        *(part.split("\n### ", 2) for part in page.split("### All data sets")[1:]), strict=True
    )
    held = "not in our sources"
    assert [score_rows(overview) for overview in overviews] == [
        [
            [
                "Oracle, unbiased",
                *("unbiased images", "97.0", held, DASH, DASH, held, DASH, DASH, held, DASH),
                f"`{oracle}`",
            ]
        ],
        [
            [
                "Counterfactuals only (cgn)",
                *(
                    "generated images",
                    DASH,
                    held,
                    "92.3 B, 43.9 A",
                    DASH,
                    held,
                    "86.5 B, 87.9 A",
                    "82.0 ± 2.8",
                    held,
                    "81.4 B",
                ),
                f"`{command}`",
            ],
            [
                "Oracle, unbiased",
                *("unbiased images", DASH, held, DASH, DASH, held, DASH, "85.0", held, DASH),
                f"`{run}demo score@demo-wildlife-oracle-0`",
            ],
            [
                "Oracle, five times the budget",
                *("unbiased images", DASH, held, DASH, DASH, held, DASH, "90.0", held, DASH),
                f"`{run}demo -S 'classifiers=[oracle_5x]' score@demo-wildlife-oracle_5x-0`",
            ],
        ],
    ]
    rows = score_rows("".join(others))
    assert [(row[0], *row[3:-4], row[-2]) for row in rows] == [
        ("Oracle, unbiased", "3", "97.0", "97.0", DASH),
        ("Counterfactuals only (cgn)", "0, 1", "82.0 ± 2.8", "80.0", "81.4 B"),
        ("Oracle, unbiased", "0", "85.0", "85.0", DASH),
        ("Oracle, five times the budget", "0", "90.0", "90.0", DASH),
    ]
    assert [row[-4] for row in rows] == [DASH, "8.0", DASH, DASH]
    assert rows[0][-1] == f"`{oracle}`"
    assert rows[1][-1] == f"`{command}`"
    assert "### Double-colored" not in page
    assert page.count("Reproductions: B: Bagad et al. 2022") == 2
    assert "no training collapses" in claims[1]
    assert "| Wildlife MNIST | not measured | 82.0 ± 2.8 against 90.0, attempts not known |" in claims[1]


def test_the_mnist_page_shows_figure_7_table_5_ablations_and_quality_as_far_as_they_are_finished(
    tmp_path: Path,
) -> None:
    test = {"train": {"accuracy": 1.0}, "test": {"accuracy": 0.5}}

    def moving(span: float) -> dict[str, Any]:
        sized = {"num_images": 10_000}
        return {**test, "env_90": {"accuracy": 0.9, **sized}, "env_100": {"accuracy": 0.9 + span, **sized}}

    cells: dict[str, Any] = {
        "oracle-0": test,
        "cgn-cf_only-0": moving(0.01),
        "cgn-cf_only_texture-0": moving(0.09),
        "sweep/cgn-100000-1-0-0": {"accuracy": {"test": 0.7}, "shapes": 4500},
        "sweep/cgn-10000-5-0-0": {"accuracy": {"test": 0.5}},
        "sweep/cgn-10000-5-0-1": {"accuracy": {"test": 0.6}},
        "ablation/cgn-no_binary-2": {"accuracy": {"test": 0.3}, "mask_iou": 0.2},
        "quality/cut_paste-0": {"judge_accuracy": {"shape": 0.97}, "effectiveness": {"shape": 0.5}},
        "quality/cgn-0": {"judge_accuracy": {"shape": 0.97}, "effectiveness": {"shape": 0.93}, "fid": 12.3},
    }
    for name, content in cells.items():
        path = tmp_path / "demo" / "wildlife" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    page = mnist_page.render(tmp_path, load_params(ROOT / "params.yaml"))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.endswith("` |")]

    def row_of(command: str) -> list[str]:
        *_, row = (row for row in rows if command in row[-1])  # real images stand above a generator
        return row[:-1]

    assert row_of("sweep@demo-wildlife-cgn-10000-5-0-0")[:7] == [
        "cgn",
        "10,000",
        "10,000",
        "5",
        DASH,
        "0",
        "55.0 ± 7.1",
    ]
    assert row_of("sweep@demo-wildlife-cgn-10000-5-0-0")[-1] == "52.6"
    assert row_of("sweep@demo-wildlife-cgn-100000-1-0-0")[3:7] == ["1", "4,500", "0", "70.0"]
    commands = [row[-1] for row in rows if "sweep@" in row[-1]]
    assert len(commands) == 2
    assert "-10000-" in commands[0]
    assert row_of("ablate@demo-wildlife-cgn-no_binary-2")[:4] == ["cgn", "no binary", "2", "30.0"]
    assert row_of("measure@demo-wildlife-cgn-0")[:2] == ["cgn", "93.0"]
    assert row_of("measure@demo-wildlife-cut_paste-0")[:2] == ["cut_paste", "50.0"]
    assert "| real: test images | 97.0 |" in page
    assert row_of("score_with@demo-wildlife-cgn-cf_only_texture-0")[1:] == ["texture", "90.0", "99.0", "50.0", "9.0"]
    assert "The stable signal, so the causal one: shape." in page


def test_the_mnist_page_shows_a_data_set_that_has_no_classifier_yet(tmp_path: Path) -> None:
    path = tmp_path / "full" / "colored" / "sweep" / "cgn-10000-1-0-0.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"accuracy": {"test": 0.5}}))
    page = mnist_page.render(tmp_path, load_params(ROOT / "params.yaml"))
    assert page.count("### Colored MNIST") == 1
    lists = "-S 'sweep.generators=[cgn]'"
    assert f"`dvc exp run --temp -S scale=full {lists} sweep@full-colored-cgn-10000-1-0-0` |" in page


def test_the_mnist_page_is_made_of_the_metrics_that_are_committed() -> None:
    """Marks aside: they follow the code."""
    made = mnist_page.render(ROOT / "data" / "metrics", load_params(ROOT / "params.yaml"), mnist_page.VARIANCES)
    committed = mnist_page.PAGE.read_text(encoding="utf-8")
    remedy = "run `python -m benchmarks.mnist_page`"
    assert committed.replace(f" {MARK} |", " |") == made, remedy


def _stages(params: Mapping[str, Any]) -> set[str]:
    """The stages that dvc.yaml's matrices make of params.yaml's content, and their groups."""

    def value_of(name: str) -> Any:
        return reduce(lambda section, key: section[key], name.removeprefix("${").removesuffix("}").split("."), params)

    found: set[str] = set()
    for group, stage in YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"].items():
        axes = [
            value_of(axis) if isinstance(axis, str) else map(value_of, axis)
            for axis in stage.get("matrix", {}).values()
        ]
        found |= {group, *(f"{group}@{'-'.join(map(str, values))}" for values in product(*axes))}
    return found


def test_the_commands_of_documents_name_stages_that_their_settings_bring_in() -> None:
    pages = [mnist_page.PAGE, ROOT / "docs/results/pipeline.md", ROOT / "docs/howto.md", ROOT / "README.md"]
    told = "\n".join(page.read_text(encoding="utf-8").replace("\\\n", " ") for page in pages)
    commands = set(re.findall(r"dvc (?:exp run|repro)[^`\n#]*", told))
    assert len(commands) > 200
    assert any("@" in command for command in commands)
    content = YAML(typ="safe").load(ROOT / "params.yaml")
    for command in commands:
        words = iter(shlex.split(command))
        made, targets = copy.deepcopy(content), []
        for word in words:
            if word == "-S":
                name, _, value = next(words).partition("=")
                *path, last = name.removeprefix("+").split(".")
                section = reduce(lambda section, key: section[key], path, made)
                assert (last in section) != name.startswith("+"), command  # DVC adds no key without a plus
                section[last] = YAML(typ="safe").load(value)
            elif "@" in word:
                targets.append(word)
        Params.model_validate(made)
        assert set(targets) <= _stages(made), command


def test_the_mnist_page_shows_the_variances_of_colours(tmp_path: Path) -> None:
    run = {
        "variance": 0.03,
        "scale": "demo",
        "seeds": [0, 1],
        "test": {"oracle": [0.9, 0.92]},
        "command": "dvc exp run",
    }
    (tmp_path / "variance.json").write_text(json.dumps([run]))
    page = mnist_page.render(tmp_path, load_params(ROOT / "params.yaml"), tmp_path / "variance.json")
    assert "| 0.03 | 0, 1 | 91.0 ± 1.4 | `dvc exp run` |" in page
    assert (
        mnist_page.render(tmp_path, load_params(ROOT / "params.yaml"), tmp_path / "none.json").count("variance of") == 0
    )


def test_a_variance_is_run_with_lists_and_targets_of_its_own() -> None:
    *start, first, second = colour_variance.command(0.04, scale="demo", seeds=[0, 1])[:-6]
    assert start[:4] == ["dvc", "exp", "run", "--temp"]
    assert start[4::2] == ["-S"] * 7
    assert start[5::2] == [
        "scale=demo",
        "seeds=[0,1]",
        "datasets_run=[colored]",
        "classifiers=[original,oracle]",
        "generators=[cgn]",
        "mixes=[cf_only,original_cf]",
        "datasets.colored.color_std=0.2000000000",
    ]
    assert (first, second) == ("score@demo-colored-original-0", "score_with@demo-colored-cgn-cf_only-0")


def test_a_variances_accuracies_are_those_of_its_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    def metrics_show(path: str, *, repo: str, rev: str) -> dict[str, Any]:
        assert (Path(repo), rev) == (ROOT, "colour-variance-demo-0-03")
        folder, _, seed = path.removesuffix(".json").rpartition("-")
        return {"test": {"accuracy": len(folder) + int(seed) / 10}}

    monkeypatch.setattr("dvc.api.metrics_show", metrics_show)
    found = colour_variance.accuracies("colour-variance-demo-0-03", scale="demo", seeds=[0, 1])
    start = len("data/metrics/demo/colored/")
    names = ("original", "cgn-cf_only", "cgn-original_cf", "oracle")
    assert found == {name: [start + len(name), start + len(name) + 0.1] for name in names}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("http"):
            continue
        name, _, heading = target.partition("#")
        path = document.parent / name if name else document
        assert path.is_file(), f"{document.name} links to {target}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles], target


def test_the_modules_that_documents_name_exist() -> None:
    for document in DOCUMENTS:
        for module in re.findall(r"python -m ([a-z0-9_]+(?:\.[a-z0-9_]+)+)", document.read_text(encoding="utf-8")):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), f"{document.name} names {module}"
