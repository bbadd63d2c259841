"""Judging sets of images by what networks see in them: Inception Score, FID, and the classes that counterfactuals show."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cgn.contracts import Factors
from cgn.errors import InputError
from cgn.evaluation.quality import Features, frechet_distance

Rows = Float[Tensor, "_ _"]


class InceptionScore(NamedTuple):
    """Over splits of the images: 1 where all look alike, at most the number of classes."""

    mean: float
    std: float  # of the splits themselves


class TopShares(NamedTuple):
    """Shares of images, in [0, 1]."""

    top1: float  # the class that was asked for is what the classifier says
    top5: float  # it is among the five likeliest


def inception_score(probabilities: Float[Tensor, "images classes"], num_splits: int) -> InceptionScore:
    """The exponential of how much an image's class says beyond the split's distribution of classes, over splits in order.

    It grows with the images of a split, so that figures of other numbers do not compare.
    Raises: InputError on fewer images than splits.
    Source: Salimans et al. 2016, section 4.
    """
    if len(probabilities) < num_splits:
        raise InputError(
            f"inception_score: found {len(probabilities)} images, expected at least {num_splits}, one per split"
        )
    scores = torch.stack([_information(split).exp() for split in probabilities.double().tensor_split(num_splits)])
    return InceptionScore(scores.mean().item(), scores.std(correction=0).item())


def _information(probabilities: Float[Tensor, "images classes"]) -> Float[Tensor, ""]:
    """Mean Kullback-Leibler divergence of each row from the mean row: the mean's entropy less the mean entropy, in nats."""
    entropy, of_mean = torch.special.entr(probabilities).sum(1).mean(), torch.special.entr(probabilities.mean(0)).sum()
    information: Tensor = of_mean - entropy
    return information


def fid(found: Features, expected: Features) -> float:
    """Frechet Inception Distance of two sets of Inception's features: 0 where their means and covariances are the same.

    Of fewer images than features it is known too, but then, as always with few, much too large: state their number.
    Raises: InputError on fewer than two images.
    Source: Heusel et al. 2017, section 2.
    """
    for features in (found, expected):
        if len(features) < 2:
            raise InputError(f"fid: found {len(features)} images, expected at least two")
    found, expected = _in_their_span(found.double(), expected.double())
    return frechet_distance(*(_more_rows(part, part.shape[1] + 1) for part in (found, expected)))


def _in_their_span(first: Rows, second: Rows) -> tuple[Rows, Rows]:
    """Two sets as coordinates in the space that both together span: distances stay, and few images need few numbers."""
    together = torch.cat([first, second])
    if len(together) >= together.shape[1]:
        return first, second
    left, lengths, _ = torch.linalg.svd(together - together.mean(0), full_matrices=False)
    coordinates = left * lengths
    return coordinates[: len(first)], coordinates[len(first) :]


def _more_rows(features: Rows, num_rows: int) -> Rows:
    """At least so many rows of the same mean and covariance: themselves again, farther from the mean by what repetition takes."""
    num, times = len(features), -(-num_rows // len(features))
    mean = features.mean(0)
    farther: float = ((times * num - 1) / (times * (num - 1))) ** 0.5
    return mean + farther * (features - mean).repeat(times, 1)


def top_shares(logits: Float[Tensor, "batch classes"], asked_for: Factors) -> dict[str, TopShares]:
    """Per factor, how often a classifier names the factor's class first, and among its first five.

    Of counterfactuals whose factors have three different classes, it says which factor the classifier goes by.
    Raises: InputError where there is no image.
    """
    if not len(logits):
        raise InputError("top_shares: found no image, expected some")
    likeliest = logits.topk(5, dim=1).indices
    shares = {}
    for factor, labels in asked_for._asdict().items():
        hits = (likeliest == labels[:, None]).double()
        shares[factor] = TopShares(hits[:, 0].mean().item(), hits.sum(1).mean().item())
    return shares
