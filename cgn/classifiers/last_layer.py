"""Retraining a classifier's last layer alone, on features that stay as they are.

Source: Kirichenko et al. 2022, "Last layer re-training is sufficient for robustness to spurious correlations" (DFR), section 4.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from cgn.classifiers.imagenet_sources import TrainingImages
from cgn.config import Precision
from cgn.contracts import Labels
from cgn.errors import InputError
from cgn.models.ensemble import NUM_CLASSES, HeadedClassifier
from cgn.training import Record

_MAX_ITERATIONS = 1000
_SMALLEST_STD = 1e-6  # of a feature; what varies less counts as constant


class Regression(NamedTuple):
    """Multinomial logistic regression: logits are features times weights plus bias."""

    weight: Float[Tensor, "classes features"]
    bias: Float[Tensor, " classes"]
    loss: float  # cross entropy in nats, without the penalty
    gradient: float  # the largest entry of the objective's gradient, which is 0 at its minimum


class LastLayerTraining:
    """Computes features once, without augmentation, and then fits the last layer: `cgn.training.Training`.

    # Differs from the paper, which averages several fits with an l1 penalty: one with l2.
    """

    def __init__(
        self,
        network: HeadedClassifier,
        sources: Mapping[str, TrainingImages],
        weights: Mapping[str, float],
        *,
        l2: float,
        batch_size: int,
        precision: Precision,
        field: str,
    ) -> None:
        """`weights` are of the sources, by their names: the share of the loss that each makes up, whatever its size; `field` is that of
        the method in params.yaml, for messages. The network has one head, and a linear layer for its last one.

        Raises: InputError where a source has no images.
        """
        if empty := [name for name, images in sources.items() if len(images) == 0]:
            raise InputError(f"mix.{empty[0]}: found no images, expected some")
        self.network, self.precision = network.eval(), precision
        self.l2, self.field = l2, field
        total = sum(weights[name] for name in sources)
        self.places = [(images, row) for images in sources.values() for row in range(len(images))]
        self.shares = torch.cat(
            [
                torch.full((len(images),), weights[name] / total / len(images), dtype=torch.float64)
                for name, images in sources.items()
            ]
        )
        self.batch_size = batch_size
        self.num_steps = -(-len(self.places) // batch_size)
        self.step = 0
        self.features: list[Tensor] = []
        self.fit: Regression | None = None

    @property
    def labels(self) -> Labels:
        """What is to be told of every image."""
        return torch.tensor([images.labels(row, 0)[0] for images, row in self.places])

    def records(self) -> Iterator[Record]:
        """Compute features on, yielding step and images_seen. Raises: InputError where an image cannot be read."""
        device = next(self.network.parameters()).device
        while self.step < self.num_steps:
            some = self.places[self.step * self.batch_size : (self.step + 1) * self.batch_size]
            pixels = torch.stack([images.pixels(row, 0) for images, row in some]).to(device)
            bfloat16 = torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16")
            with torch.no_grad(), bfloat16:
                self.features.append(self.network.shared(pixels).float().cpu())
            self.step += 1
            yield {"step": self.step, "images_seen": min(self.step * self.batch_size, len(self.places))}

    def fitted(self) -> Regression:
        """The regression on all features. Raises: InputError where features are not finite, or it does not converge."""
        if self.fit is None:
            features = torch.cat(self.features)
            if not features.isfinite().all():
                raise InputError("found features that are no finite numbers; set compute.precision to float32")
            self.fit = logistic_regression(
                features,
                self.labels,
                self.shares,
                num_classes=NUM_CLASSES[self.network.classes],
                l2=self.l2,
                field=self.field,
            )
        return self.fit

    def state_dict(self) -> dict[str, Any]:
        """The features so far."""
        return {"step": self.step, "features": self.features}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from an earlier state."""
        self.step, self.features = state["step"], list(state["features"])

    @torch.no_grad()
    def weights(self) -> dict[str, Tensor]:
        """The network's weights with the fitted last layer."""
        (head,) = self.network.heads
        layer = self.network.last_layer_of(head)
        assert isinstance(layer, nn.Linear)
        assert layer.bias is not None
        layer.weight.copy_(self.fitted().weight)
        layer.bias.copy_(self.fitted().bias)
        return {name: tensor.cpu() for name, tensor in self.network.state_dict().items()}


def logistic_regression(
    features: Float[Tensor, "images features"],
    labels: Labels,
    shares: Float[Tensor, " images"],
    *,
    num_classes: int,
    l2: float,
    field: str,
) -> Regression:
    """The minimum of the images' cross entropy, weighted by `shares`, plus `l2` times half the squared weights of standardised
    features; of classes without images logits are lowest.

    In float64 by L-BFGS from zero: the same every time. Returns weights for the features as they are.
    Raises: InputError where it does not converge.
    """
    given = features.double()
    mean = (shares[:, None] * given).sum(0) / shares.sum()
    std = ((shares[:, None] * (given - mean).square()).sum(0) / shares.sum()).sqrt()
    scale = torch.where(std > _SMALLEST_STD, std, torch.inf)
    standardised = (given - mean) / scale
    weight = torch.zeros(num_classes, given.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(num_classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=_MAX_ITERATIONS,
        tolerance_grad=1e-6,
        tolerance_change=1e-12,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def cross_entropy() -> Tensor:
        losses = F.cross_entropy(standardised @ weight.T + bias, labels, reduction="none")
        return (losses * shares).sum() / shares.sum()

    def objective() -> Tensor:
        optimizer.zero_grad()
        total = cross_entropy() + l2 / 2 * weight.square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        optimizer.step(objective)
        objective()
    gradient = max(float(part.grad.abs().max()) for part in (weight, bias) if part.grad is not None)
    if not gradient < 1e-3:
        raise InputError(
            f"{field}.l2: found {l2}, with which the fit has not converged (largest gradient {gradient:.2g}), expected more, such as "
            f"{max(10 * l2, 1e-4):g}"
        )
    with torch.no_grad():
        own = weight / scale
        return Regression(own.float(), (bias - own @ mean).float(), cross_entropy().item(), gradient)
