"""Classifiers whose first filters begin as edge detectors.

A filter answers to an area of one colour with the sum of its weights. Where a digit and its background may differ by a few levels
alone, what the filters say of the colours drowns the edge between them. So the filters' means become parameters of their own,
0 at first, that learn slowly. The network stays the same function of its weights, and its checkpoint that of any other.
"""

from torch import Tensor, nn
from torch.nn.utils import parametrize

from cgn.models.classifiers import Cnn


class _MeansApart(nn.Module):
    """Filters (out, in, height, width) as what differs from their means, and the means (out, in)."""

    def forward(self, rest: Tensor, means: Tensor) -> Tensor:
        return rest + (means - rest.mean((2, 3)))[:, :, None, None]

    def right_inverse(self, filters: Tensor) -> tuple[Tensor, Tensor]:
        return filters, filters.mean((2, 3))


def begin_with_edges(network: Cnn) -> list[nn.Parameter]:
    """Take the means of the first filters to 0 and apart; the parameters that say what the layer answers to plain areas."""
    parametrize.register_parametrization(network[0], "weight", _MeansApart())
    of_layer = dict(network[0].named_parameters())
    means = of_layer["parametrizations.weight.original1"]
    nn.init.zeros_(means)
    return [means, of_layer["offset"], of_layer["bias"]]


def weights_of(network: Cnn) -> dict[str, Tensor]:
    """The weights by the names of a `Cnn`, begun with edges or not."""
    state: dict[str, Tensor] = network.state_dict()
    if isinstance(first := network[0], nn.Conv2d) and parametrize.is_parametrized(first):
        state = {name: tensor for name, tensor in state.items() if ".parametrizations." not in name}
        state["0.weight"] = first.weight.detach()
    return state
