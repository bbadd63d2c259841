"""Render docs/results/pipeline.json, where measured figures are entered, as the page beside it.

Usage: python -m benchmarks.results_page
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[1] / "docs" / "results" / "pipeline.json"
PAGE = SOURCE.with_suffix(".md")


def render(results: Mapping[str, Any]) -> str:
    """The page: how it was measured, a table of the figures with their commands, and what fell short."""
    lines = [f"# {results['title']}", "", *results["introduction"], "", "| what | bar | measured | command |"]
    lines.append("|---|---|---|---|")
    for figure in results["figures"]:
        cells = (figure["what"], figure["bar"], figure["measured"], f"`{figure['command']}`")
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join([*lines, "", "## What fell short", "", *results["fell_short"], ""])


def main() -> None:
    """Write the page."""
    PAGE.write_text(render(json.loads(SOURCE.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
