"""Facts about the training of generators, whatever the recipe, and about what is sampled from them."""

import math
from pathlib import Path

import pytest
import torch
from tiny_generators import LABELS, PARAMS, PIXELS, RECIPES, authors_code, fast, trained
from torch import Tensor

import cgn.generators.base
from cgn.checkpoints import load_state, save_state
from cgn.composer import compose, to_images
from cgn.config import Compute
from cgn.contracts import Factors, Images, Labels
from cgn.generators import GENERATORS, GeneratorTraining
from cgn.generators.base import Layers
from cgn.generators.collapse import CollapseError, check_collapse
from cgn.generators.counterfactuals import Originals, counterfactuals, draw_originals, num_shapes
from cgn.generators.sheets import sheet
from cgn.models.inference import MaskInference
from cgn.rng import stream
from cgn.training import seeded
from stages.training import set_compute

STATISTICS = ["mask_mean", "binary_share", "border_mean", "class_diversity", "class_distance", "class_roughness"]
LOSSES = {
    "fast": ["discriminator", "adversarial", "binary", "border", "similarity", "inference"],
    "authors_code": ["discriminator", "adversarial", "binary", "style"],
    "gan": ["discriminator", "adversarial"],
    "beta_vae": ["reconstruction", "divergence"],
}

CGNS = ("fast", "authors_code")  # what has mechanisms


@pytest.fixture(autouse=True)
def every_step_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgn.generators.base, "_LOG_EVERY_STEPS", 1)
    torch.set_num_threads(1)


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


# ---- training


@pytest.mark.parametrize("recipe", RECIPES)
def test_records_hold_losses_and_the_masks_statistics(recipe: str) -> None:
    records = list(RECIPES[recipe]().records())
    assert [record["step"] for record in records] == [1, 2, 3, 4]
    assert [record["images_seen"] for record in records] == [16, 32, 48, 64]
    for record in records:
        assert list(record) == ["step", "images_seen", *LOSSES[recipe], *STATISTICS]
        assert all(torch.tensor(value).isfinite() for value in record.values())
        assert all(0 <= record[name] <= 1 for name in STATISTICS)
        if recipe in CGNS:
            assert record["binary"] > 0


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_interrupted_training_ends_with_the_same_weights(recipe: str, tmp_path: Path) -> None:
    expected = trained(RECIPES[recipe]())
    first = RECIPES[recipe]()
    for record in first.records():
        if record["step"] == 2:
            save_state(tmp_path / "state.pt", first.state_dict())
            break
    state = load_state(tmp_path / "state.pt")
    assert state is not None
    second = RECIPES[recipe]()
    second.load_state_dict(state)
    records = list(second.records())
    assert [record["images_seen"] for record in records] == [48, 64]
    assert same(second.weights(), expected)


@pytest.mark.parametrize("recipe", RECIPES)
def test_weights_depend_on_seed_and_attempt_and_on_nothing_else(recipe: str) -> None:
    expected = trained(RECIPES[recipe]())
    torch.rand(7)  # global random state is not used
    assert same(trained(RECIPES[recipe]()), expected)
    assert not same(trained(RECIPES[recipe](seed=1)), expected)
    assert not same(trained(RECIPES[recipe](attempt=1)), expected)


def test_two_threads_end_with_the_same_bytes_every_time() -> None:
    """At full width: small gradients are added up by one thread, in one order."""
    set_compute(Compute(threads=2, precision="bfloat16"))
    wide = {name: getattr(PARAMS.generator["cgn"], name) for name in ("shape_width", "texture_width", "batch_size")}
    first, second, third = (trained(fast(wide["batch_size"] * 8, **wide)) for _ in range(3))
    assert same(first, second)
    assert same(first, third)


@pytest.mark.parametrize("recipe", RECIPES)
def test_looking_at_a_training_does_not_change_it(recipe: str) -> None:
    expected = trained(RECIPES[recipe]())
    training = RECIPES[recipe]()
    for _ in training.records():
        training.statistics()
        sheet(training.fixed_layers())
    assert same(training.weights(), expected)


def networks_of(training: GeneratorTraining) -> dict[str, torch.nn.Module]:
    return {name: part for name in ("generator", "discriminator") if (part := getattr(training, name, None))}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_loss_that_is_not_finite_stops_the_training(recipe: str) -> None:
    training = RECIPES[recipe]()
    with torch.no_grad():
        next(list(networks_of(training).values())[-1].parameters()).fill_(torch.nan)
    with pytest.raises(ValueError, match=r"step 1: found \w+ nan, expected a finite number"):
        next(training.records())


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_step_trains_every_weight(recipe: str) -> None:
    training = RECIPES[recipe](16)
    networks = networks_of(training)
    before = {(part, name): weight.clone() for part, net in networks.items() for name, weight in net.named_parameters()}
    next(training.records())
    still = {
        (part, name)
        for part, net in networks.items()
        for name, weight in net.named_parameters()
        if torch.equal(weight, before[part, name])
    }
    # A bias ahead of a normalisation has no effect; on embeddings and gains every class drawn counts.
    assert {entry for entry in still if not entry[1].endswith("bias")} == set()


@pytest.mark.parametrize(("num_images", "factors"), [(96, [1, 1, 1, 0.75, 0.5, 0.25]), (32, [1, 1])])
def test_the_fast_learning_rates_stay_and_then_fall_linearly_to_zero(num_images: int, factors: list[float]) -> None:
    training = fast(num_images, lr_constant_images=32)
    groups = [*training.generator_optimizer.param_groups, *training.discriminator_optimizer.param_groups]
    seen = [[group["lr"] for group in groups] for _ in training.records()]
    first = [training.config.shape_lr, *[training.config.lr] * 3]  # shapes; textures, inference, discriminator
    assert seen == [pytest.approx([factor * lr for lr in first]) for factor in factors]


@pytest.mark.parametrize("dataset", ["colored", "double_colored", "wildlife"])
def test_the_authors_settings_of_each_data_set_are_used(dataset: str) -> None:
    training = authors_code(32, dataset=dataset)
    trained(training)
    settings = getattr(PARAMS.generator["cgn_authors"].datasets, dataset)
    kinds = {"linear": "LinearDiscriminator", "conv": "ConvDiscriminator"}
    assert type(training.discriminator).__name__ == kinds[settings.discriminator]
    first = authors_code(32, dataset=dataset).generator.texture[0].weight
    deviation = settings.init_gain if settings.init == "normal" else settings.init_gain / len(first) ** 0.5
    assert first.std().item() == pytest.approx(deviation, rel=0.1)


def test_the_style_loss_moves_the_generator_and_can_be_off() -> None:
    assert not same(trained(authors_code(32)), trained(authors_code(32, style=0.1)))
    records = list(authors_code(32, style=0.0).records())
    assert [record["style"] for record in records] == [0, 0]


def test_an_epoch_of_the_authors_recipe_shows_every_image_once_and_training_ends_after_the_last() -> None:
    training = authors_code(10_000, images=40, epochs=3, style=0.0)
    shown: list[Tensor] = []
    step = training._train_step

    def watched(images: Images, labels: Labels) -> dict[str, Tensor]:
        shown.append(images)
        return step(images, labels)

    training._train_step = watched
    records = list(training.records())
    assert [len(images) for images in shown] == [16, 16, 8] * 3
    assert records[-1]["images_seen"] == 120
    epochs = [torch.cat(shown[i : i + 3]).flatten(1).sum(1) for i in (0, 3, 6)]
    assert torch.equal(epochs[0].sort().values, epochs[1].sort().values)
    assert len(epochs[0].unique()) == 40
    assert not torch.equal(epochs[0], epochs[1])
    assert authors_code(33, epochs=3).num_steps == 3  # the scale's budget is smaller


def test_the_authors_mechanisms_share_one_noise_in_training_alone() -> None:
    generator = authors_code().generator
    shared = generator.draw_training_noise(5, stream(0))
    assert torch.equal(shared.shape, shared.texture)
    assert torch.equal(shared.shape, shared.background)
    assert not torch.equal(shared.texture_shift, shared.background_shift)
    drawn = generator.draw_noise(5, stream(0))
    assert not torch.equal(drawn.shape, drawn.texture)
    assert not torch.equal(drawn.texture, drawn.background)


# ---- sheets and samples


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_sheet_has_four_rows_of_ten_classes_and_shows_the_composite_last(recipe: str) -> None:
    layers = RECIPES[recipe]().fixed_layers()
    picture = sheet(layers)
    assert picture.size == (10 * 34 + 2, 4 * 34 + 2)
    tile = torch.tensor(list(picture.crop((2 + 34 * 3, 2 + 34 * 3, 34 + 34 * 3, 34 + 34 * 3)).tobytes()))
    pixels = ((layers.composite[3] + 1) * 127.5).round().clamp(0, 255).permute(1, 2, 0).flatten()
    assert torch.equal(tile.float(), pixels.float())


def sampled(recipe: str, num_images: int = 40, **changed: object) -> tuple[Tensor, Factors]:
    arguments = {
        "originals": None,
        "colours": None,
        "cf_ratio": 4,
        "hard_masks": False,
        "precision": "float32",
        "seed": 0,
        "shard_index": 0,
    }
    return counterfactuals(RECIPES[recipe]().generator, num_images, **{**arguments, **changed})


@pytest.fixture
def composed_masks(monkeypatch: pytest.MonkeyPatch) -> list[Images]:
    """The masks that sampling composes, batch by batch; foregrounds alone become its images."""
    masks: list[Images] = []

    def only_the_foreground(mask: Images, foreground: Images, background: Images) -> Images:
        masks.append(mask)
        return foreground

    monkeypatch.setattr("cgn.generators.counterfactuals.compose", only_the_foreground)
    return masks


@pytest.mark.parametrize("recipe", RECIPES)
def test_counterfactuals_depend_on_their_arguments_alone(recipe: str) -> None:
    pixels, factors = sampled(recipe)
    again, factors_again = sampled(recipe)
    assert torch.equal(pixels, again)
    assert all(torch.equal(left, right) for left, right in zip(factors, factors_again, strict=True))
    assert not torch.equal(sampled(recipe, seed=1)[0], pixels)
    assert not torch.equal(sampled(recipe, shard_index=1)[0], pixels)


@pytest.mark.parametrize("recipe", CGNS)
def test_runs_of_counterfactuals_share_a_shape_and_nothing_else(recipe: str, composed_masks: list[Images]) -> None:
    pixels, factors = sampled(recipe)
    masks = composed_masks[0].reshape(10, 4, -1)
    assert torch.allclose(masks, masks[:, :1].expand_as(masks), atol=1e-4)
    assert torch.equal(factors.shape.reshape(10, 4), factors.shape[::4, None].expand(10, 4))
    assert len(factors.texture.reshape(10, 4).unique(dim=1)[0]) > 1
    assert len(pixels.flatten(1).unique(dim=0)) == 40


@pytest.mark.parametrize("recipe", ["gan", "beta_vae"])
def test_without_mechanisms_nothing_is_asked_for_but_what_the_training_set_shows(recipe: str) -> None:
    pixels, factors = sampled(recipe, 400, cf_ratio=1)
    assert torch.equal(factors.texture, factors.shape)
    assert torch.equal(factors.background, factors.shape)
    assert set(factors.shape.tolist()) == set(range(10))
    assert len(pixels.flatten(1).unique(dim=0)) == 400


def test_a_gan_is_about_as_large_as_the_cgn() -> None:
    sizes = [
        sum(weight.numel() for weight in GENERATORS[config.recipe].network(config).parameters())
        for config in (PARAMS.generator["gan"], PARAMS.generator["cgn"])
    ]
    assert 0.9 < sizes[0] / sizes[1] < 1.1


def test_a_vae_remembers_where_the_codes_of_each_class_lie() -> None:
    vae = RECIPES["beta_vae"]().generator
    labels = torch.arange(10).repeat(100)
    mean = torch.stack([labels.float(), -labels.float()], dim=1)
    for _ in range(600):
        vae.remember(labels, mean, torch.full_like(mean, math.log(0.25)))
    assert torch.allclose(vae.class_means, mean[:10], atol=1e-3)
    assert torch.allclose(vae.class_variances, torch.full((10, 2), 0.25), atol=1e-3)


def test_a_vaes_grid_is_a_walk_through_its_code() -> None:
    vae = RECIPES["beta_vae"]().generator.eval()
    with torch.inference_mode():
        grid = vae.factor_grid(stream(0))
        corner = vae.decoder(torch.tensor([[2.0, -2.0]]))[0]
    assert torch.allclose(
        grid[9], corner, atol=1e-6
    )  # the first number is largest to the right, the second smallest on top


def test_a_cgns_grid_has_a_shape_per_column_and_a_texture_per_row() -> None:
    generator = RECIPES["fast"]().generator.eval()
    seen: list[Layers] = []
    generator.register_forward_hook(lambda _, given, out: seen.append(out))
    with torch.inference_mode():
        grid = generator.factor_grid(stream(0))
    assert grid.shape == (100, 3, 32, 32)
    mask, foreground, background = (layer.unflatten(0, (10, 10)) for layer in seen[0])
    assert torch.allclose(mask, mask[:1].expand_as(mask), atol=1e-6)
    assert torch.allclose(foreground, foreground[:, :1].expand_as(foreground), atol=1e-6)
    assert torch.allclose(background, background[:1, :1].expand_as(background), atol=1e-6)
    assert not torch.allclose(foreground[0], foreground[1], atol=1e-3)


def test_a_gan_has_no_masks_that_could_collapse() -> None:
    training = RECIPES["gan"]()
    with pytest.raises(CollapseError, match=r"mask mean 1\.000"):
        check_collapse(training.statistics(), PARAMS.generator["cgn"].collapse)
    assert training.config.collapse is None
    check_collapse(training.statistics(), training.config.collapse)


def test_labels_of_counterfactuals_are_uniform_and_independent_whatever_the_ratio() -> None:
    _, factors = sampled("fast", 6000, cf_ratio=2)
    shape, texture, background = (labels[::2] for labels in factors)
    for labels in (shape, texture, background):
        assert chi_squared(labels.bincount(minlength=10)) < 33.7  # 0.9999 quantile of 9 degrees of freedom
    for left, right in ((shape, texture), (shape, background), (texture, background)):
        assert chi_squared((10 * left + right).bincount(minlength=100)) < 159.0  # of 99 degrees of freedom


def chi_squared(counts: Tensor) -> float:
    expected = counts.sum() / len(counts)
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("recipe", CGNS)
def test_hard_masks_leave_no_blended_pixel(recipe: str, composed_masks: list[Images]) -> None:
    sampled(recipe, hard_masks=True)
    assert set(composed_masks[0].unique().tolist()) == {0.0, 1.0}


# ---- counterfactuals of training images


def originals(num_images: int = 10) -> Originals:
    return Originals(PIXELS[:num_images], LABELS[:num_images])


def test_counterfactuals_of_training_images_keep_their_labels_and_inferred_shapes(composed_masks: list[Images]) -> None:
    _, factors = sampled("fast", originals=originals())
    assert torch.equal(factors.shape, LABELS[:10].repeat_interleave(4))
    generator = RECIPES["fast"]().generator.eval()
    with torch.inference_mode():
        expected = generator.infer_masks(to_images(PIXELS[:10]), LABELS[:10])
    masks = composed_masks[0].reshape(10, 4, 1, 32, 32)
    assert len(expected.flatten(1).unique(dim=0)) == 10
    assert torch.allclose(masks, expected[:, None].expand_as(masks), atol=1e-5)


def test_textures_of_counterfactuals_know_nothing_of_the_training_image(composed_masks: list[Images]) -> None:
    pixels, factors = sampled("fast", originals=originals())
    others = Originals(PIXELS[20:30], LABELS[20:30])
    textures, other_factors = sampled("fast", originals=others)
    assert torch.equal(pixels, textures)  # of foregrounds alone: these are all that `composed_masks` lets through
    assert torch.equal(factors.texture, other_factors.texture)
    assert torch.equal(factors.background, other_factors.background)


def test_every_shape_needs_its_own_training_image() -> None:
    with pytest.raises(ValueError, match="found 9 originals, expected 10"):
        sampled("fast", originals=originals(9))
    assert num_shapes(41, 4) == 11


def test_every_training_image_is_taken_once_before_any_is_taken_again() -> None:
    rows = draw_originals(7, 17, seed=0)
    assert rows[:7].sort().values.tolist() == rows[7:14].sort().values.tolist() == list(range(7))
    assert rows[:7].tolist() != rows[7:14].tolist()
    assert torch.equal(rows, draw_originals(7, 17, seed=0))
    assert not torch.equal(rows, draw_originals(7, 17, seed=1))


def test_a_generator_that_cannot_infer_masks_says_so() -> None:
    for recipe in ("gan", "authors_code"):
        with pytest.raises(NotImplementedError, match="does not infer masks"):
            sampled(recipe, originals=originals())


def test_masks_are_inferred_late_and_without_a_gradient_to_the_mechanisms() -> None:
    """Everything but the inference network takes the same steps, whether it learns from the start or never."""
    exact = {"precision": "float32"}
    learning, idle = (fast(inference_after_share=share, **exact) for share in (0.0, 1.0))
    records = [list(training.records()) for training in (learning, idle)]
    assert all(record["inference"] > 0 for record in records[0])
    assert all(record["inference"] == 0 for record in records[1])
    first, second = (training.generator.state_dict() for training in (learning, idle))
    changed = {name.split(".")[0] for name in first if not torch.equal(first[name], second[name])}
    assert changed == {"inference"}
    assert records[0][-1]["inference"] < records[0][0]["inference"]


@pytest.mark.parametrize("dataset", ["double_colored", "colored"])
def test_at_last_half_of_a_batch_has_masks_of_its_own_training_images(dataset: str) -> None:
    training = fast(32, redress_after_share=0.5, precision="float32", dataset=dataset)
    batches: list[tuple[Images, Labels, Layers]] = []
    draw = training._draw_layers

    def seen(images: Images, labels: Labels) -> Layers:
        layers = draw(images, labels)
        training.generator.inference.eval()
        with torch.no_grad():
            batches.append((training.generator.infer_masks(images, labels), labels, layers))
        training.generator.inference.train()
        return layers

    training._draw_layers = seen  # type: ignore[method-assign]
    trained(training)
    (before, _, drawn), (inferred, _, redressed) = batches
    expected = (inferred > 0.5).float() if dataset == "double_colored" else inferred
    assert not torch.allclose(drawn.mask[8:], before[8:], atol=0.01)
    assert torch.allclose(redressed.mask[8:], expected[8:], atol=1e-6)


def test_the_inference_network_learns_masks_of_composites() -> None:
    network = seeded(0, lambda: MaskInference(width=4))
    rng = stream(0, "discs")
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)

    def batch() -> tuple[Images, Labels, Tensor]:
        labels = torch.randint(0, 10, (32,), generator=rng)
        corners = torch.randint(4, 16, (32, 2, 1), generator=rng)
        steps = torch.arange(32)
        inside = (steps >= corners) & (steps < corners + 12)
        masks = (inside[:, 0, :, None] & inside[:, 1, None, :])[:, None].float()
        colour = (labels.float() / 5 - 1)[:, None, None, None].expand(-1, 3, 32, 32)
        return compose(masks, colour, -colour.roll(1, 0)), labels, masks

    for _ in range(150):
        images, labels, masks = batch()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(images, labels), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    images, labels, masks = batch()
    with torch.inference_mode():
        right = ((network(images, labels) > 0).float() == masks).float().mean()
    assert right > 0.9
