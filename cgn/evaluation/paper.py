"""Published accuracies on the three MNIST variants, as fractions, each with its source; recalled figures stay out."""

from collections.abc import Sequence
from typing import NamedTuple

REPRODUCTION = "Bagad et al. 2022"
QUOTED = f"Sauer & Geiger 2021, Table 2, as quoted by {REPRODUCTION}"
RERUN = f"{REPRODUCTION}, their own run"
FROM_SCRATCH = "Ankit 2022, with a CGN trained from scratch"
WHO = f"B: {RERUN}, with the authors' CGN; A: {FROM_SCRATCH}"
NOT_HELD = "not in our sources"


class Published(NamedTuple):
    """Accuracy in training and under random factors, and who says so."""

    train: float
    test: float
    source: str


Table = dict[str, dict[str, Published]]  # by row and data set


_DATASETS = ("colored", "double_colored", "wildlife")


def _row(source: str, *percent: tuple[float, float], of: Sequence[str] = _DATASETS) -> dict[str, Published]:
    return {
        name: Published(round(train / 100, 4), round(test / 100, 4), source)
        for name, (train, test) in zip(of, percent, strict=True)
    }


# Sources: Sauer & Geiger, Counterfactual Generative Networks, ICLR 2021, Table 2; Bagad, Maas, Hilders and de Goede,
# [Re] Counterfactual Generative Networks, ReScience C 2022 (quotes the paper's figures beside its own); Ankit et al. 2022, whose
# table lacks Wildlife MNIST.
PUBLISHED: Table = {
    "Original": _row(QUOTED, (99.5, 35.9), (100.0, 10.3), (100.0, 10.1)),
    "Original + GAN": _row(QUOTED, (99.8, 40.7), (100.0, 10.8), (100.0, 10.4)),
    "Original + CGN": _row(QUOTED, (99.7, 95.1), (97.4, 89.0), (99.2, 85.7)),
}
REPRODUCED: dict[str, Table] = {
    "B": {
        "Original": _row(RERUN, (99.7, 37.6), (100.0, 10.5), (100.0, 10.8)),
        "GAN only": _row(RERUN, (99.6, 32.5), (100.0, 10.6), (99.9, 11.2)),
        "CGN only": _row(RERUN, (99.4, 92.3), (94.8, 86.5), (95.5, 81.4)),
        "Original + GAN": _row(RERUN, (99.6, 41.5), (100.0, 10.0), (100.0, 11.1)),
        "Original + CGN": _row(RERUN, (99.2, 95.9), (96.9, 85.5), (96.8, 62.8)),
    },
    "A": {
        "CGN only": _row(FROM_SCRATCH, (98.7, 43.88), (96.7, 87.9), of=_DATASETS[:2]),
        "Original + CGN": _row(FROM_SCRATCH, (98.7, 68.96), (96.8, 88.54), of=_DATASETS[:2]),
    },
}
# Bagad et al. 2022, their own run of the paper's Figure 7 with the authors' checkpoints, counterfactuals only: accuracy
# on test images by number of counterfactuals and how many share a shape. The paper's own curves are not in our sources.
_FIGURE_7: dict[str, dict[int, tuple[float, ...]]] = {
    "colored": {10_000: (91.04, 89.59, 89.13), 100_000: (92.64, 93.23, 92.67), 1_000_000: (92.04, 92.23, 92.31)},
    "double_colored": {
        10_000: (71.95, 73.26, 73.93, 74.15),
        100_000: (88.91, 88.76, 89.18, 87.93),
        1_000_000: (90.65, 89.95, 89.40, 89.91),
    },
    "wildlife": {
        10_000: (50.31, 52.62, 47.85, 50.95),
        100_000: (83.86, 83.61, 83.32, 82.58),
        1_000_000: (84.66, 84.79, 84.55, 84.86),
    },
}
FIGURE_7: dict[str, dict[tuple[int, int], float]] = {
    dataset: {
        (images, ratio): round(value / 100, 4)
        for images, values in by_count.items()
        for ratio, value in zip((1, 5, 10, 20), values, strict=False)
    }
    for dataset, by_count in _FIGURE_7.items()
}
# By method and what kind of generator it uses; hand-made ones have no published figure.
_KIND_OF_RECIPE = {"fast": "CGN", "authors_code": "CGN", "gan": "GAN"}
_ROW = {"original": "Original", "cf_only": "{kind} only", "original_cf": "Original + {kind}"}


def published(method: str, recipe: str | None, dataset: str) -> Published | None:
    """The paper's accuracies of a method, with a generator of some recipe or none, on a data set; None where our sources
    hold none.
    """
    return PUBLISHED.get(_row_of(method, recipe), {}).get(dataset)


def reproduced(method: str, recipe: str | None, dataset: str) -> dict[str, Published]:
    """The reproductions' accuracies likewise, by the letter of each that has one."""
    row = _row_of(method, recipe)
    found = {letter: table.get(row, {}).get(dataset) for letter, table in REPRODUCED.items()}
    return {letter: figure for letter, figure in found.items() if figure}


def _row_of(method: str, recipe: str | None) -> str:
    """The row's name in the paper's Table 2; empty where it has none."""
    if method not in _ROW or (recipe is not None and recipe not in _KIND_OF_RECIPE):
        return ""
    return _ROW[method].format(kind=_KIND_OF_RECIPE[recipe] if recipe else None)
