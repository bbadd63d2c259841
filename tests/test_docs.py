"""The documents agree with each other and with what is there."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.results_page import PAGE, SOURCE, render

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
