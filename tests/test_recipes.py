"""What one training step of each recipe does: who is judged with which label, how losses are weighed, by which Adam."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_generators import LABELS, NUM_IMAGES, PARAMS, RECIPES, authors_code, fast
from torch import Tensor

from cgn.composer import to_images
from cgn.contracts import Factors, Labels, Masks
from cgn.generators import GeneratorTraining
from cgn.generators.base import Layers
from cgn.losses.mask import binary_entropy, border_mean, similarity
from cgn.losses.ssim import structural_similarity

# Every pixel says the class, so that a real image is known wherever it turns up.
TELLING = (LABELS * 20).to(torch.uint8)[:, None, None, None].expand(NUM_IMAGES, 3, 32, 32).contiguous()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def stepped(training: GeneratorTraining) -> GeneratorTraining:
    next(training.records())
    return training


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != "beta_vae"])
def test_the_discriminator_judges_every_image_with_the_label_of_its_shape(recipe: str) -> None:
    training = RECIPES[recipe](16, pixels=TELLING)
    made: list[tuple[Layers, Factors]] = []
    judged: list[tuple[Tensor, Labels]] = []
    training.generator.register_forward_hook(lambda _, given, out: made.append((out, given[1])))
    training.discriminator.register_forward_hook(lambda _, given, out: judged.append(given[:2]))
    stepped(training)
    layers, factors = made[0]
    assert all(torch.equal(factors.shape, other) for other in factors)
    assert len(factors.shape.unique()) > 3
    num_real = num_fake = 0
    for images, labels in judged:
        real = images.flatten(1).double().std(1) < 1e-6
        told = ((images[real].double().mean((1, 2, 3)) + 1) * 127.5 / 20).round().long()
        assert torch.equal(told, labels[real])
        if not real.all():
            assert torch.allclose(images[~real].float(), layers.composite.float(), atol=1e-6)
            assert torch.equal(labels[~real], factors.shape)
        num_real, num_fake = num_real + int(real.sum()), num_fake + int((~real).sum())
    assert (num_real, num_fake) == (16, 32)  # fake images are judged for each side's step


def gradients(training: GeneratorTraining) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in stepped(training).generator.shape.parameters()]


def first_masks(training: GeneratorTraining) -> tuple[Masks, Labels]:
    """The masks of the step that a training of the same seed takes first, and their labels."""
    if training.address[1] == "authors_cgn":
        labels = torch.randint(0, 10, (16,), generator=training.rng)
    else:
        labels = training.labels[training._next_rows()]
    noise = training.generator.draw_training_noise(16, training.rng)
    return training.generator(noise, Factors(labels, labels, labels)).mask, labels


TERMS: dict[tuple[str, str], Callable[[Masks, Labels], Tensor]] = {
    ("fast", "lambda_binary"): lambda masks, _: binary_entropy(masks),
    ("fast", "lambda_border"): lambda masks, _: border_mean(masks),
    ("fast", "lambda_similarity"): lambda masks, labels: similarity(masks, labels, distance=0.9),
    ("authors_code", "lambda_binary"): lambda masks, _: binary_entropy(masks) / math.log(2),
}


@pytest.mark.parametrize(("recipe", "term"), TERMS)
def test_a_term_of_the_loss_adds_its_weight_times_its_gradient(recipe: str, term: str) -> None:
    weight = 0.7
    # Both start from the same networks, noise and images; every pair of first masks is nearer than 0.9.
    exact: dict[str, Any] = {"precision": "float32", "mask_distance": 0.9} if recipe == "fast" else {}
    with_it = gradients(RECIPES[recipe](16, **exact, **{term: weight}))
    without = gradients(RECIPES[recipe](16, **exact, **{term: 0.0}))
    fresh = RECIPES[recipe](16, **exact)
    masks, labels = first_masks(fresh)
    expected = torch.autograd.grad(TERMS[recipe, term](masks, labels), list(fresh.generator.shape.parameters()))
    scale = max(float(gradient.abs().max()) for gradient in expected)
    assert scale > 0
    for more, less, gradient in zip(with_it, without, expected, strict=True):
        assert torch.allclose(more - less, weight * gradient, atol=1e-3 * scale)


def test_the_ssim_term_reaches_every_mechanism() -> None:
    weight, exact = 0.7, {"precision": "float32", "lambda_ssim": 0.0}
    training = fast(16, **exact)
    rows = training._next_rows()
    labels = training.labels[rows]
    noise = training.generator.draw_training_noise(16, training.rng)
    layers = training.generator(noise, Factors(labels, labels, labels))
    loss = 1 - structural_similarity(layers.composite, to_images(training.pixels[rows]))
    mechanisms = {
        name: part for name, part in training.generator.named_parameters() if not name.startswith("inference")
    }
    names = list(mechanisms)
    alone = torch.autograd.grad(loss, list(mechanisms.values()))
    with_it, without = (
        {
            name: part.grad.clone()
            for name, part in stepped(fast(16, **{**exact, "lambda_ssim": one})).generator.named_parameters()
        }
        for one in (weight, 0.0)
    )
    # Textures pass on only such gradients at the ends of their range as lead back in, so there sums are not exact.
    for name, gradient in zip(names, alone, strict=True):
        assert not name.startswith("shape") or torch.allclose(
            with_it[name] - without[name], weight * gradient, atol=1e-4
        ), name
    for mechanism in ("shape", "texture", "background"):
        of_it = [name for name in names if name.startswith(mechanism)]
        assert any((with_it[name] - without[name]).abs().max() > 1e-5 for name in of_it), mechanism


def test_style_weights_count_squared_as_in_the_authors_code() -> None:
    single, double = (next(authors_code(16, style=weight).records())["style"] for weight in (0.05, 0.1))
    assert double == pytest.approx(4 * single, rel=1e-4)


def test_each_recipe_uses_its_own_adam() -> None:
    ours, theirs = fast(16), authors_code(16)
    for training, betas in ((ours, (0.0, 0.99)), (theirs, tuple(PARAMS.generator["cgn_authors"].betas))):
        for optimizer in (training.generator_optimizer, training.discriminator_optimizer):
            assert type(optimizer) is torch.optim.Adam
            assert {group["betas"] for group in optimizer.param_groups} == {betas}
            assert optimizer.param_groups[-1]["lr"] == training.config.lr


def test_shapes_have_a_learning_rate_of_their_own_in_the_fast_recipe() -> None:
    training = fast(16)
    lr_of = {
        id(weight): group["lr"] for group in training.generator_optimizer.param_groups for weight in group["params"]
    }
    generator, config = training.generator, training.config
    assert config.shape_lr < config.lr
    for part, lr in (
        (generator.shape, config.shape_lr),
        (generator.texture, config.lr),
        (generator.background, config.lr),
    ):
        assert {lr_of[id(weight)] for weight in part.parameters()} == {lr}
    assert len(lr_of) == len(list(generator.parameters()))


def test_the_weights_that_count_are_the_average_over_steps() -> None:
    latest = fast(48, ema_decay=0.0)
    list(latest.records())
    newest = latest.generator.state_dict()
    assert all(torch.equal(weight, newest[name]) for name, weight in latest.weights().items())

    halved = fast(48, ema_decay=0.5)
    seen: list[Tensor] = []
    update = halved.average.update_parameters

    def watched(generator: torch.nn.Module) -> None:
        seen.append(next(generator.parameters()).detach().clone())
        update(generator)

    halved.average.update_parameters = watched  # type: ignore[method-assign]
    list(halved.records())
    first, second, third = seen
    assert torch.allclose(next(halved.shown.parameters()), 0.25 * first + 0.25 * second + 0.5 * third, atol=1e-6)
