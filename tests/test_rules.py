"""Facts about each learning rule: what its loss is, and what its gradient reaches."""

import math

import pytest
import torch
from isolation import ROOT
from torch import Tensor, nn
from torch.nn import functional as F

from cgn.classifiers import METHODS, Method, Setting, TrainingBatch
from cgn.classifiers.base import mean_per_source
from cgn.classifiers.irm import scale_gradient
from cgn.classifiers.lff import generalised_cross_entropy, relative_to_class
from cgn.classifiers.lntl import colour_levels
from cgn.config import GroupDroConfig, IrmConfig, LffConfig, LntlConfig, load_params
from cgn.models.classifiers import Cnn
from cgn.rng import stream
from cgn.training import seeded

PARAMS = load_params(ROOT / "params.yaml")
MIX = {"env_90": 1.0, "env_100": 1.0}


class Fixed(Cnn):
    """A network that answers with the given logits."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits[: len(images)]


def batch(num_images: int = 8, num_sources: int = 2) -> TrainingBatch:
    rng = stream(0, "batch")
    rows = torch.arange(num_images)
    return TrainingBatch(
        torch.rand(num_images, 3, 32, 32, generator=rng) * 2 - 1,
        torch.randint(10, (num_images,), generator=rng),
        rows % num_sources,
        rows,
    )


def logits_for(some: TrainingBatch) -> Tensor:
    return torch.randn(len(some.labels), 10, generator=stream(1))


def rule(name: str, config: object, num_sources: int = 2, num_images: int = 8) -> Method:
    return seeded(0, lambda: METHODS[name](config, Setting(num_sources, num_images)))  # type: ignore[arg-type]


def test_erm_is_the_cross_entropy() -> None:
    some = batch()
    erm = rule("erm", PARAMS.methods["original"])
    assert erm.loss(Fixed(torch.zeros(8, 10)), some, 0.0).item() == pytest.approx(math.log(10))
    logits = logits_for(some)
    assert erm.loss(Fixed(logits), some, 0.0).item() == pytest.approx(F.cross_entropy(logits, some.labels).item())


def test_the_mean_of_a_source_without_images_is_zero() -> None:
    means, counts = mean_per_source(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 2]), 3)
    assert means.tolist() == [2, 0, 5]
    assert counts.tolist() == [2, 0, 1]


# ---- invariant risk minimisation


def test_the_scale_gradient_is_what_autograd_finds() -> None:
    some = batch(20)
    logits = logits_for(some).double()
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(F.cross_entropy(scale * logits, some.labels), scale)
    torch.testing.assert_close(scale_gradient(logits, some.labels), expected)


def irm(penalty_weight: float) -> Method:
    return rule("irm", IrmConfig(rule="irm", mix=MIX, penalty_weight=penalty_weight, anneal_share=0.5))


def test_irm_adds_the_squared_gradients_and_divides_by_its_weight_once_annealed() -> None:
    some = batch()
    logits = logits_for(some)
    risks, penalties = [], []
    for source in range(2):
        own, labels = logits[some.sources == source], some.labels[some.sources == source]
        risks.append(F.cross_entropy(own, labels))
        penalties.append(scale_gradient(own, labels) ** 2)
    risk, penalty = sum(risks).item() / 2, sum(penalties).item() / 2
    assert abs(penalty) > 0.01
    method = irm(100.0)
    assert method.loss(Fixed(logits), some, 0.49).item() == pytest.approx(risk + penalty, rel=1e-5)
    assert method.loss(Fixed(logits), some, 0.5).item() == pytest.approx((risk + 100 * penalty) / 100, rel=1e-5)
    assert irm(0.0).loss(Fixed(logits), some, 0.5).item() == pytest.approx(risk, rel=1e-5)


@pytest.mark.parametrize("num_images", [1, 2])
def test_irm_takes_a_batch_that_misses_an_environment_or_has_one_image_of_each(num_images: int) -> None:
    some = batch(num_images)
    logits = logits_for(some)
    risk = F.cross_entropy(logits, some.labels)
    penalty = sum(scale_gradient(logits[[row]], some.labels[[row]]) ** 2 for row in range(num_images)) / num_images
    assert penalty > 0.01
    assert irm(10.0).loss(Fixed(logits), some, 1.0).item() == pytest.approx((risk + 10 * penalty).item() / 10, rel=1e-5)


# ---- group distributionally robust optimisation


def test_group_dro_weighs_by_exponentiated_losses_and_remembers() -> None:
    some = batch()
    logits = logits_for(some)
    losses = F.cross_entropy(logits, some.labels, reduction="none")
    means = torch.stack([losses[0::2].mean(), losses[1::2].mean()])
    method = rule("group_dro", GroupDroConfig(rule="group_dro", mix=MIX, step_size=0.5))
    for step in (1, 2):
        weights = (0.5 * step * means).softmax(0)
        assert method.loss(Fixed(logits), some, 0.0).item() == pytest.approx((weights * means).sum().item(), rel=1e-5)
    assert weights.argmax() == means.argmax()
    torch.testing.assert_close(method.state_dict()["weights"], weights)


# ---- learning from failure


def test_generalised_cross_entropy_has_its_two_limits() -> None:
    some = batch()
    logits = logits_for(some)
    probability = logits.softmax(1).gather(1, some.labels[:, None])[:, 0]
    torch.testing.assert_close(generalised_cross_entropy(logits, some.labels, q=1.0), 1 - probability)
    exact = F.cross_entropy(logits.double(), some.labels, reduction="none")
    torch.testing.assert_close(
        generalised_cross_entropy(logits.double(), some.labels, q=1e-6), exact, atol=1e-4, rtol=0
    )


def test_generalised_cross_entropy_has_a_gradient_where_a_probability_is_too_small_for_its_type() -> None:
    logits = torch.tensor([[0.0, 200.0], [200.0, 0.0]], requires_grad=True)
    losses = generalised_cross_entropy(logits, torch.tensor([0, 0]), q=0.7)
    torch.testing.assert_close(losses, torch.tensor([1 / 0.7, 0.0]))
    losses.sum().backward()
    assert torch.equal(logits.grad, torch.zeros(2, 2))


def test_difficulty_is_relative_to_the_class() -> None:
    values, labels = torch.tensor([1.0, 4.0, 3.0]), torch.tensor([2, 2, 5])
    for rows, relative in (([0, 2], [0.25, 1.0]), ([1], [1.0])):  # also to images that a batch does not hold
        torch.testing.assert_close(relative_to_class(values, labels, torch.tensor(rows)), torch.tensor(relative))


def test_an_image_that_contradicts_the_shortcut_keeps_others_of_its_class_small_in_later_batches() -> None:
    both = batch(2)._replace(labels=torch.tensor([3, 3]))
    method = rule("lff", LffConfig(rule="lff", mix={"train": 1.0}, q=0.7, ema_decay=0.7))
    biased = torch.zeros(2, 10)
    biased[0, 3] = 4.0  # the shortcut holds for the first image alone
    method.biased = Fixed(biased)  # type: ignore[assignment]
    method.loss(Fixed(torch.zeros(2, 10)), both, 0.0)
    network = Fixed(torch.zeros(1, 10))
    alone = TrainingBatch(*(part[:1] for part in both))
    classifier = method.loss(network, alone, 0.0) - generalised_cross_entropy(biased[:1], alone.labels, q=0.7).mean()
    assert classifier.item() < 0.2 * math.log(10)  # half of it, were the image the hardest of its class


def test_images_that_the_biased_network_fails_on_count_more() -> None:
    some = batch(2)._replace(labels=torch.tensor([3, 3]))
    method = rule("lff", LffConfig(rule="lff", mix={"train": 1.0}, q=0.7, ema_decay=0.7))
    biased = torch.zeros(2, 10)
    biased[0, 3] = 4.0  # the shortcut holds for the first image
    method.biased = Fixed(biased)  # type: ignore[assignment]
    network = Fixed(torch.zeros(2, 10))
    method.loss(network, some, 0.0).backward()
    assert network.logits.grad is not None
    first, second = network.logits.grad.norm(dim=1).tolist()
    assert second > 5 * first
    # GCE's gradient is that of the cross entropy times p^q.
    assert method.biased.logits.grad is not None
    probability = biased.softmax(1)
    expected = probability[:, 3:4] ** 0.7 * (probability - F.one_hot(some.labels, 10)) / 2
    torch.testing.assert_close(method.biased.logits.grad, expected)


def test_what_is_remembered_of_an_image_moves_by_the_decay() -> None:
    some = batch(2)
    method = rule("lff", LffConfig(rule="lff", mix={"train": 1.0}, q=0.7, ema_decay=0.7))
    method.loss(Fixed(torch.zeros(2, 10)), some, 0.0)
    assert method.state_dict()["losses"][:2].tolist() == pytest.approx([math.log(10)] * 2)
    sure = F.one_hot(some.labels, 10) * 100.0
    method.loss(Fixed(sure), some, 0.0)
    assert method.state_dict()["losses"][:2].tolist() == pytest.approx([0.7 * math.log(10)] * 2)
    assert method.state_dict()["losses"][2:].eq(0).all()


# ---- learning not to learn


def test_colour_levels_are_those_of_the_image_and_black_is_left_out() -> None:
    images = -torch.ones(1, 3, 32, 32)
    images[:, 0, :16] = 1.0
    images[:, 1, :16] = 0.0
    levels = colour_levels(images)
    assert levels.shape == (1, 3, 8, 8)
    assert [levels[0, channel, 0, 0].item() for channel in range(3)] == [7, 4, 0]
    assert levels[:, :, 4:].eq(-100).all()


def lntl_gradients(reversal: float, entropy_weight: float) -> tuple[list[Tensor], list[Tensor]]:
    config = LntlConfig(rule="lntl", mix={"train": 1.0}, reversal=reversal, entropy_weight=entropy_weight)
    method, network = rule("lntl", config), seeded(0, Cnn)
    method.loss(network, batch(), 0.0).backward()
    first = next(network.parameters())
    assert first.grad is not None
    return [first.grad], [weight.grad for weight in method.parameters() if weight.grad is not None]


def test_the_head_learns_colours_and_the_classifier_gets_that_gradient_reversed() -> None:
    (plain,), head = lntl_gradients(0.0, 0.0)
    (reversed_once,), head_once = lntl_gradients(0.5, 0.0)
    (reversed_twice,), _ = lntl_gradients(1.0, 0.0)
    torch.testing.assert_close(reversed_twice - plain, 2 * (reversed_once - plain), atol=1e-5, rtol=1e-3)
    assert (reversed_once - plain).abs().max() > 1e-4
    assert len(head) == 4
    for left, right in zip(head, head_once, strict=True):
        assert torch.equal(left, right)  # whatever reaches the classifier, the head itself descends

    config = LntlConfig(rule="lntl", mix={"train": 1.0}, reversal=0.5, entropy_weight=0.0)
    method, network = rule("lntl", config), seeded(0, Cnn)
    colours = method.head(network.maps(batch().images)).unflatten(1, (3, 8)).transpose(1, 2)
    (ascent,) = torch.autograd.grad(
        F.cross_entropy(colours, colour_levels(batch().images)), [next(network.parameters())]
    )
    torch.testing.assert_close(reversed_once - plain, -0.5 * ascent, atol=1e-5, rtol=1e-3)


def test_the_entropy_term_moves_the_classifier_and_not_the_head() -> None:
    (plain,), head = lntl_gradients(0.0, 0.0)
    (with_it,), head_with_it = lntl_gradients(0.0, 1.0)
    assert not torch.allclose(plain, with_it, atol=1e-6)
    for left, right in zip(head, head_with_it, strict=True):
        assert torch.equal(left, right)


def test_a_black_image_has_no_colours_to_unlearn() -> None:
    config = LntlConfig(rule="lntl", mix={"train": 1.0}, reversal=0.5, entropy_weight=0.0)
    black = batch()._replace(images=-torch.ones(8, 3, 32, 32))
    assert rule("lntl", config).loss(seeded(0, Cnn), black, 0.0).isfinite()
