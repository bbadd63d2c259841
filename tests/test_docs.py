"""The documents agree with each other and with what is there."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import mnist_page
from benchmarks.results_page import PAGE, SOURCE, render
from cgn.config import load_params
from cgn.evaluation.tables import DASH

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_results_page_shows_the_recorded_figures() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(json.loads(SOURCE.read_text(encoding="utf-8"))), (
        "run python -m benchmarks.results_page"
    )


def test_every_recorded_figure_has_its_bar_and_its_command() -> None:
    results = json.loads(SOURCE.read_text(encoding="utf-8"))
    assert results["figures"]
    for figure in results["figures"]:
        assert set(figure) == {"what", "bar", "measured", "command"}
        assert all(figure.values()), figure["what"]


def test_the_mnist_page_shows_finished_cells_their_spread_and_how_far_below_the_oracle(tmp_path: Path) -> None:
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
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if "`dvc repro" in line]
    held = "not in our sources"
    assert [(row[0], *row[2:-3], row[-2]) for row in rows] == [
        ("Oracle, unbiased", "3", "97.0", "97.0", held),
        ("Counterfactuals only (cgn)", "0, 1", "82.0 ± 2.8", "80.0", "81.4*"),
        ("Oracle, unbiased", "0", "85.0", "85.0", held),
        ("Oracle, five times the budget", "0", "90.0", "90.0", held),
    ]
    assert [row[-3] for row in rows] == [DASH, "8.0", DASH, DASH]
    assert rows[0][-1] == "`dvc repro score@full-colored-oracle-3`"
    assert rows[1][-1] == "`dvc repro score_with@demo-wildlife-cgn-cf_only-0`"
    assert "### Double-colored" not in page
    assert page.count("their own run; the paper's own is not in our sources.") == 1


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
        for module in re.findall(r"python -m ([a-z_]+(?:\.[a-z_]+)+)", document.read_text(encoding="utf-8")):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), f"{document.name} names {module}"
