"""Published figures of the ImageNet CGN, each with its source; recalled figures stay out."""

from typing import NamedTuple

from cgn.evaluation.paper import REPRODUCTION

QUOTED = f"Sauer & Geiger 2021, Table 1, as quoted by {REPRODUCTION}"
RERUN = f"{REPRODUCTION}, their own run"


class PublishedAblation(NamedTuple):
    """What was measured with one loss off."""

    inception_score: float
    mask_mean: float  # the paper's mu_mask


Table = dict[str, PublishedAblation]  # by the loss that is off; NONE_OFF: the full model

NONE_OFF = ""
# Sources: Sauer & Geiger, Counterfactual Generative Networks, ICLR 2021, Table 1; Bagad, Maas, Hilders and de Goede, [Re]
# Counterfactual Generative Networks, ReScience C 2022, Table 2 (quotes the paper's figures beside its own).
PUBLISHED: Table = {
    "shape": PublishedAblation(85.9, 0.2),
    "texture": PublishedAblation(198.4, 0.9),
    "background": PublishedAblation(195.6, 0.1),
    "reconstruction": PublishedAblation(38.4, 0.3),
    NONE_OFF: PublishedAblation(130.2, 0.3),
}
REPRODUCED: Table = {
    "shape": PublishedAblation(100.8, 0.3),
    "texture": PublishedAblation(186.5, 0.4),
    "background": PublishedAblation(200.9, 0.1),
    "reconstruction": PublishedAblation(19.3, 0.4),
    NONE_OFF: PublishedAblation(156.1, 0.3),
}
TEACHER_SCORE = 202.9  # the Inception Score of BigGAN-deep-256, the upper bound of the paper's Table 1
REPRODUCED_IMAGES = 2000  # that its scores are of
PROTOCOLS = (
    "The paper does not say how it computed Inception Score; the reproduction took 2,000 images in two splits, of noise truncated at "
    "0.5, and torchvision's Inception, where ours is TensorFlow's of 2015. The score moves by more than a tenth with such choices."
)
