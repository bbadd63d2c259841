"""Published accuracies on the three MNIST variants, as fractions, each with its source; recalled figures stay out."""

from typing import NamedTuple

REPRODUCTION = "Bagad et al. 2022"
QUOTED = f"Sauer & Geiger 2021, Table 2, as quoted by {REPRODUCTION}"
RERUN = f"{REPRODUCTION}, their own run"
NOT_HELD = "not in our sources"


class Published(NamedTuple):
    """Accuracy in training and under random factors, and who says so."""

    train: float
    test: float
    source: str


def _row(source: str, *percent: tuple[float, float]) -> dict[str, Published]:
    names = ("colored", "double_colored", "wildlife")
    return {
        name: Published(round(train / 100, 4), round(test / 100, 4), source)
        for name, (train, test) in zip(names, percent, strict=True)
    }


# Sources: Sauer & Geiger, Counterfactual Generative Networks, ICLR 2021, Table 2; Bagad, Maas, Hilders and de Goede,
# [Re] Counterfactual Generative Networks, ReScience C 2022 (quotes the paper's figures beside its own).
PUBLISHED: dict[str, dict[str, Published]] = {
    "Original": _row(QUOTED, (99.5, 35.9), (100.0, 10.3), (100.0, 10.1)),
    "Original + GAN": _row(QUOTED, (99.8, 40.7), (100.0, 10.8), (100.0, 10.4)),
    "Original + CGN": _row(QUOTED, (99.7, 95.1), (97.4, 89.0), (99.2, 85.7)),
    "GAN only": _row(RERUN, (99.6, 32.5), (100.0, 10.6), (99.9, 11.2)),
    "CGN only": _row(RERUN, (99.4, 92.3), (94.8, 86.5), (95.5, 81.4)),
}
# By method and what kind of generator it uses; hand-made ones have no published figure.
_KIND_OF_RECIPE = {"fast": "CGN", "authors_code": "CGN", "gan": "GAN"}
_ROW = {"original": "Original", "cf_only": "{kind} only", "original_cf": "Original + {kind}"}


def published(method: str, recipe: str | None, dataset: str) -> Published | None:
    """The published accuracies of a method, with a generator of some recipe or none, on a data set; None where our
    sources hold none.
    """
    if method not in _ROW or (recipe is not None and recipe not in _KIND_OF_RECIPE):
        return None
    row = _ROW[method].format(kind=_KIND_OF_RECIPE[recipe] if recipe else None)
    return PUBLISHED.get(row, {}).get(dataset)
