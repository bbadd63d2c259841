"""Facts about the networks: their sizes, what they keep and what they move, and where their weights come from."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cgn import torchvision_ops  # noqa: F401  (before torchvision)
from cgn.composer import compose
from cgn.config import load_params
from cgn.contracts import Factors
from cgn.generators import AuthorsCgn, MnistCgn
from cgn.models.authors import (
    NUM_CROPS,
    AuthorsShape,
    AuthorsTexture,
    ConvDiscriminator,
    LinearDiscriminator,
    initialise,
    tile_and_crop,
)
from cgn.models.discriminators import ProjectionDiscriminator
from cgn.models.mechanisms import ShapeMechanism, TextureMechanism, clamped, cyclic_shift
from cgn.rng import stream
from cgn.training import seeded

ROOT = Path(__file__).parents[1]
PARAMS = load_params(ROOT / "params.yaml")
CONFIGS = {"fast": PARAMS.generator["cgn"], "authors_code": PARAMS.generator["cgn_authors"]}
NETWORKS: dict[str, Callable[[], AuthorsCgn | MnistCgn]] = {
    "fast": lambda: MnistCgn(CONFIGS["fast"].model_copy(update={"shape_width": 4, "texture_width": 4})),
    "authors_code": lambda: AuthorsCgn(CONFIGS["authors_code"].model_copy(update={"width": 4})),
}
LABELS = torch.arange(10)


def noise(*shape: int, name: str = "noise") -> Tensor:
    return torch.randn(shape, generator=stream(0, name))


def num_weights(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# ---- composition


@pytest.mark.parametrize(("value", "shown"), [(1.0, "foreground"), (0.0, "background")])
def test_compose_shows_one_layer_where_the_mask_is_hard(value: float, shown: str) -> None:
    layers = {"foreground": noise(2, 3, 4, 4, name="f"), "background": noise(2, 3, 4, 4, name="b")}
    assert torch.equal(compose(torch.full((2, 1, 4, 4), value), **layers), layers[shown])


def test_compose_mixes_by_the_mask_and_passes_gradients_to_every_layer() -> None:
    mask, foreground = torch.full((1, 1, 2, 2), 0.25), torch.full((1, 3, 2, 2), 0.8)
    background = torch.full((1, 3, 2, 2), -0.4)
    layers = [layer.requires_grad_() for layer in (mask, foreground, background)]
    image = compose(*layers)
    assert torch.allclose(image, torch.full((1, 3, 2, 2), 0.25 * 0.8 - 0.75 * 0.4))
    image.sum().backward()
    assert mask.grad.unique().item() == pytest.approx(3 * 1.2)
    assert foreground.grad.unique().item() == pytest.approx(0.25)
    assert background.grad.unique().item() == pytest.approx(0.75)


# ---- generators of both recipes


@pytest.mark.parametrize("recipe", NETWORKS)
def test_a_generator_makes_masks_inside_0_and_1_and_textures_inside_minus_1_and_1(recipe: str) -> None:
    generator = seeded(0, NETWORKS[recipe])
    layers = generator(generator.draw_noise(10, stream(0)), Factors(LABELS, LABELS, LABELS))
    assert layers.mask.shape == (10, 1, 32, 32)
    assert 0 < layers.mask.min() < 0.1
    assert 0.9 < layers.mask.max() < 1
    for texture in (layers.foreground, layers.background):
        assert texture.shape == (10, 3, 32, 32)
        assert texture.abs().max() <= 1
    assert layers.composite.shape == (10, 3, 32, 32)


@pytest.mark.parametrize("recipe", NETWORKS)
def test_no_mask_can_be_all_object_or_all_background(recipe: str) -> None:
    generator = seeded(0, NETWORKS[recipe])
    factors = Factors(LABELS, LABELS, LABELS)
    for scale in (0.1, 10.0):
        drawn = generator.draw_noise(10, stream(1))
        mask = generator(drawn._replace(shape=scale * drawn.shape), factors).mask
        means = mask.mean(dim=(1, 2, 3))
        assert 0.03 < means.min() < means.max() < 0.97


@pytest.mark.parametrize("recipe", NETWORKS)
def test_each_label_and_noise_moves_its_own_layer_alone(recipe: str) -> None:
    generator = seeded(0, NETWORKS[recipe]).eval()
    drawn, other = generator.draw_noise(10, stream(2)), generator.draw_noise(10, stream(3))
    plain = generator(drawn, Factors(LABELS, LABELS, LABELS))
    for number in range(3):
        factors = [LABELS] * 3
        factors[number] = LABELS.flip(0)
        for changed in (
            generator(drawn, Factors(*factors)),
            generator(drawn._replace(**{drawn._fields[number]: other[number]}), Factors(LABELS, LABELS, LABELS)),
        ):
            same = [torch.equal(left, right) for left, right in zip(plain, changed, strict=True)]
            assert same == [i != number for i in range(3)]


@pytest.mark.parametrize("recipe", NETWORKS)
def test_first_weights_depend_on_the_seed_alone(recipe: str) -> None:
    before = torch.get_rng_state()
    first = seeded(stream(0, "generator").initial_seed(), NETWORKS[recipe]).state_dict()
    torch.rand(3)
    torch.set_rng_state(before)
    again, other = (seeded(stream(s, "generator").initial_seed(), NETWORKS[recipe]).state_dict() for s in (0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


# ---- the shuffle layers


def test_a_cyclic_shift_rolls_every_image_by_its_own_row() -> None:
    images = noise(4, 3, 8, 8)
    shifts = torch.tensor([[0, 0], [3, 0], [0, 5], [7, 2]])
    expected = [image.roll(tuple(row), (1, 2)) for image, row in zip(images, shifts.tolist(), strict=True)]
    assert torch.equal(cyclic_shift(images, shifts), torch.stack(expected))


def test_the_authors_shuffle_layer_is_a_window_of_four_copies() -> None:
    images = noise(6, 3, 32, 32)
    corners = torch.tensor([[0, 0], [32, 32], [1, 0], [0, 31], [7, 19], [32, 0]])
    copies = images.repeat(1, 1, 2, 2)
    expected = [copies[i, :, y : y + 32, x : x + 32] for i, (y, x) in enumerate(corners.tolist())]
    assert torch.equal(tile_and_crop(images, corners), torch.stack(expected))
    assert torch.equal(tile_and_crop(images, corners)[[0, 1, 5]], images[[0, 1, 5]])


def test_shuffling_only_moves_pixels() -> None:
    images = torch.arange(32 * 32, dtype=torch.float32).reshape(1, 1, 32, 32).expand(20, 3, -1, -1)
    corners = torch.randint(0, NUM_CROPS, (20, 2), generator=stream(0))
    moved = tile_and_crop(images, corners).flatten(2).sort(dim=2).values
    assert torch.equal(moved, images.flatten(2))


def test_outside_its_range_a_clamped_colour_follows_only_a_gradient_that_leads_back_in() -> None:
    values = torch.tensor([-2.0, -2.0, -0.5, 0.5, 2.0, 2.0], requires_grad=True)
    towards = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])  # a step against the gradient goes the other way
    bounded = clamped(values)
    assert bounded.tolist() == [-1, -1, -0.5, 0.5, 1, 1]
    (bounded * towards).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [0, -1, 1, -1, 1, 0]


@pytest.mark.parametrize("moved", [(1, 0), (0, 5), (8, 8), (13, 22)])
def test_a_texture_is_the_same_wherever_on_the_canvas_an_image_begins(moved: tuple[int, int]) -> None:
    texture = seeded(0, lambda: TextureMechanism(latent=4, width=4, canvas_cells=7)).eval()
    places = texture.draw_places(10, stream(0))
    here = texture(noise(10, 4), LABELS, places)
    there = texture(noise(10, 4), LABELS, places + torch.tensor(moved))
    down, right = moved
    assert torch.allclose(here[:, :, down:, right:], there[:, :, : 32 - down, : 32 - right], atol=1e-5)
    assert here.std(dim=(2, 3)).mean() > 1e-3


def test_a_canvas_has_no_edge_and_every_place_is_drawn() -> None:
    texture = seeded(0, lambda: TextureMechanism(latent=4, width=4, canvas_cells=7)).eval()
    side = 7 * 8
    places = texture.draw_places(2000, stream(0))
    assert places.unique().tolist() == list(range(side))
    drawn = noise(10, 4)
    once_around = texture(drawn, LABELS, places[:10] + side)
    assert torch.equal(texture(drawn, LABELS, places[:10]), once_around)


def test_a_textures_colour_follows_its_noise_and_its_detail_does_not() -> None:
    texture = seeded(0, lambda: TextureMechanism(latent=4, width=4, canvas_cells=7)).eval()
    with torch.no_grad():
        texture.colour.weight *= 0.1  # nothing is clamped
        texture.gain *= 0.1
    places = texture.draw_places(10, stream(0))
    difference = texture(noise(10, 4), LABELS, places) - texture(noise(10, 4, name="other"), LABELS, places)
    assert difference.std(dim=(2, 3)).max() < 1e-6
    assert difference.mean(dim=(2, 3)).abs().min() > 1e-4


def test_the_fast_mask_ignores_the_scale_and_level_of_what_its_network_draws() -> None:
    mechanism = seeded(0, lambda: ShapeMechanism(latent=4, width=4)).eval()
    expected = mechanism(noise(10, 4), LABELS)
    last = mechanism.net[-1]
    with torch.no_grad():
        last.weight *= 7
        last.bias += 3
    assert torch.allclose(mechanism(noise(10, 4), LABELS), expected, atol=1e-3)


# ---- the authors' networks


def test_the_authors_networks_are_as_large_as_theirs() -> None:
    generator = AuthorsCgn(CONFIGS["authors_code"])
    assert num_weights(generator.shape) == 194_914
    assert num_weights(generator.texture) == num_weights(generator.background) == 232_489
    assert num_weights(generator) == 659_992
    assert num_weights(generator) + sum(buffer.numel() for buffer in generator.buffers()) == 660_462
    assert num_weights(LinearDiscriminator(512)) == 2_104_421
    assert num_weights(ConvDiscriminator(32)) == 413_642


@pytest.mark.parametrize("build", [LinearDiscriminator, ConvDiscriminator])
def test_the_authors_discriminators_score_every_image_with_its_class(
    build: type[LinearDiscriminator | ConvDiscriminator],
) -> None:
    network = seeded(0, lambda: build(8))
    images = noise(10, 3, 32, 32)
    scores = network(images, LABELS, stream(0))
    assert scores.shape == (10,)
    assert torch.equal(network(images, LABELS, stream(0)), scores)
    assert not torch.equal(network(images, LABELS.flip(0), stream(0)), scores)
    assert network(images[:1], LABELS[:1], stream(0)).shape == (1,)


def test_dropout_takes_two_fifths_from_the_linear_discriminator_and_keeps_the_mean() -> None:
    network = seeded(0, lambda: LinearDiscriminator(64))
    images, labels = noise(1, 3, 32, 32).expand(4000, -1, -1, -1), torch.zeros(4000, dtype=torch.int64)
    with torch.no_grad():
        network.score.weight.fill_(1)
        network.score.bias.zero_()
        for layer in list(network.layers)[1:]:
            layer.weight.copy_(torch.eye(64))
            layer.bias.zero_()
        network.layers[0].weight.zero_()
        network.layers[0].bias.fill_(1)
        scores = network(images, labels, stream(0))
    assert scores.mean().item() == pytest.approx(64, rel=0.02)
    shares = scores * 0.6**2 / 64  # of the 64 units that passed both layers
    assert shares.mean().item() == pytest.approx(0.36, rel=0.02)
    assert scores.std().item() > 1


def test_the_projection_discriminator_scores_every_image_with_its_class() -> None:
    network = seeded(0, lambda: ProjectionDiscriminator(channels=3, width=4))
    images = noise(10, 3, 32, 32)
    assert network(images, LABELS).shape == (10,)
    assert not torch.equal(network(images, LABELS.flip(0)), network(images, LABELS))


@pytest.mark.parametrize("kind", ["orthogonal", "normal"])
def test_first_weights_have_the_recipes_kind_and_gain(kind: str) -> None:
    def build() -> nn.Module:
        network = nn.ModuleDict({
            "embed": nn.Embedding(10, 10),
            "shape": AuthorsShape(inputs=42, width=8),
            "texture": AuthorsTexture(inputs=42, width=8),
        })  # fmt: skip
        initialise(network, kind, 0.2)
        return network

    network = seeded(0, build)
    linear = network["texture"][0]
    assert linear.weight.shape == (1024, 42)
    if kind == "orthogonal":
        assert torch.allclose(linear.weight.T @ linear.weight, 0.04 * torch.eye(42), atol=1e-5)
    else:
        assert linear.weight.std().item() == pytest.approx(0.2, rel=0.05)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    scales = torch.cat([module.weight for module in norms])
    assert scales.mean().item() == pytest.approx(1, abs=0.15)
    assert 0.1 < scales.std().item() < 0.3
    assert all((module.bias == 0).all() for module in [*norms, linear])
    assert network["embed"].weight.std().item() == pytest.approx(1, abs=0.2)
