"""Facts about the CGN for natural images, on a BigGAN of 64 px with few channels, random weights and a random U2-NetP."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cgn.config import ImagenetCgnConfig, ImagenetTrainBudget, Precision, load_params
from cgn.contracts import Factors
from cgn.errors import InputError
from cgn.generators.imagenet_cgn import MECHANISMS, ImagenetCgn, PerMechanism
from cgn.generators.imagenet_training import ImagenetCgnTraining, ImagenetRun, TrainingStoppedError
from cgn.models.biggan import biggan_config, random_biggan
from cgn.models.refiner import Refiner
from cgn.models.u2net import SMALL, U2Net, for_inference
from cgn.models.vgg import VggFeatures, random_vgg_features
from cgn.ranks import Ranks
from cgn.rng import stream
from cgn.training import seeded

ROOT = Path(__file__).parents[1]
TINY = biggan_config(64, channel_width=8, num_classes=10)
# The authors' recipe, with rates that move weights of a random network, and fewer of VGG's stages.
CONFIG = (
    load_params(ROOT / "params.yaml")
    .imagenet_cgn["authors_code"]
    .model_copy(
        update={
            "truncation": 0.5,
            "shape_lr": 1e-3,
            "texture_lr": 1e-3,
            "background_lr": 1e-3,
            "ema_decay": 0.5,
            "style_weights": [80_000.0, 0.0, 0.0, 0.0],
            "texture_weights": [0.0, 125_000.0, 0.0, 0.0],
        }
    )
)
BUDGET = ImagenetTrainBudget(
    num_steps=2, effective_batch=4, micro_batch=2, recompute=False, compile=False, num_processes=1
)


@pytest.fixture(scope="module")
def vgg() -> VggFeatures:
    return random_vgg_features(0)


def new_cgn(*, refiner_width: int = 0) -> ImagenetCgn:
    """Mechanisms that differ from one another, so that a swap would be seen."""
    mechanisms: dict[str, nn.Module] = {
        name: random_biggan(TINY, seed) for seed, name in enumerate(MECHANISMS, start=1)
    }
    saliency = for_inference(seeded(0, lambda: U2Net(SMALL)))
    refiner = seeded(0, lambda: Refiner(refiner_width)) if refiner_width else None
    return ImagenetCgn(mechanisms, saliency, truncation=0.5, refiner=refiner)


@pytest.fixture(scope="module")
def cgn() -> ImagenetCgn:
    return new_cgn()


def training(vgg: VggFeatures, *, precision: Precision = "float32", **changes: object) -> ImagenetCgnTraining:
    """A run with some of the recipe's or the budget's fields changed."""
    of_budget = {name: changes.pop(name) for name in list(changes) if name in ImagenetTrainBudget.model_fields}
    run = ImagenetRun(ImagenetTrainBudget.model_validate({**BUDGET.model_dump(), **of_budget}), precision, 0)
    config = ImagenetCgnConfig.model_validate({**CONFIG.model_dump(), **changes})
    cgn = new_cgn(refiner_width=config.refiner.width if config.refiner else 0)
    return ImagenetCgnTraining(config, cgn, random_biggan(TINY, 0), vgg, run)


def inputs(cgn: ImagenetCgn, *classes: int) -> tuple[PerMechanism, Factors]:
    labels = Factors(*(torch.tensor([label]) for label in classes))
    return cgn.draw_noise(1, stream(0), shared=False), labels


@pytest.mark.parametrize(
    ("place", "changed"),
    [(0, ("premask", "mask", "composite")), (1, ("foreground", "composite")), (2, ("background", "composite"))],
)
def test_a_class_moves_the_layers_of_its_own_mechanism_alone(
    cgn: ImagenetCgn, place: int, changed: tuple[str, ...]
) -> None:
    noise, labels = inputs(cgn, 1, 2, 3)
    others = labels._replace(**{MECHANISMS[place]: torch.tensor([7])})
    with torch.no_grad():
        before, after = cgn(noise, labels)._asdict(), cgn(noise, others)._asdict()
    moved = tuple(name for name, layer in before.items() if not torch.equal(layer, after[name]))
    assert moved == changed


def test_a_mask_is_what_the_saliency_network_sees_in_the_premask(cgn: ImagenetCgn) -> None:
    with torch.no_grad():
        layers = cgn(*inputs(cgn, 1, 2, 3))
        assert torch.equal(layers.mask, cgn.saliency(layers.premask).clamp(1e-4, 1 - 1e-4))
    assert torch.allclose(layers.composite, layers.mask * layers.foreground + (1 - layers.mask) * layers.background)
    assert layers.composite.shape == (1, 3, 64, 64)


def test_training_inputs_are_one_noise_and_one_class_for_all_mechanisms(cgn: ImagenetCgn) -> None:
    noise, labels = cgn.draw_training_inputs(1000, stream(0))
    assert torch.equal(noise.shape, noise.texture)
    assert torch.equal(noise.shape, noise.background)
    assert torch.equal(labels.shape, labels.texture)
    assert torch.equal(labels.shape, labels.background)
    assert noise.shape.abs().max() <= 1  # twice the truncation
    assert (torch.bincount(labels.shape, minlength=10) > 60).all()


@pytest.mark.parametrize("shared", [True, False])
def test_counterfactuals_share_a_noise_by_choice(cgn: ImagenetCgn, shared: bool) -> None:
    noise = cgn.draw_noise(3, stream(0), shared=shared)
    assert torch.equal(noise.shape, noise.texture) is shared
    assert torch.equal(noise.shape, noise.background) is shared


def test_the_saliency_network_stays_in_evaluation_mode_and_frozen_while_mechanisms_train() -> None:
    cgn = new_cgn()
    cgn.train()
    assert all(not module.training for module in cgn.saliency.modules())
    assert all(module.training for module in cgn.trained.modules())
    assert not any(parameter.requires_grad for parameter in cgn.saliency.parameters())


# ---- which loss reaches which mechanism

REACHED = {
    "l1": {"shape", "texture", "background"},
    "perceptual": {"shape", "texture", "background"},
    "binary": {"shape"},
    "size": {"shape"},
    "texture": {"texture"},
    "background": {"background"},
}


@pytest.mark.parametrize(
    "changes", [{}, {"patches_from": "composite", "content_weights": [5.0] * 4, "style_weights": [0.0] * 4}]
)  # the authors' code's choices, and the paper's
def test_a_loss_reaches_its_own_mechanisms_and_no_frozen_network(vgg: VggFeatures, changes: dict[str, Any]) -> None:
    run = training(vgg, size_range=[0.98, 0.99], **changes)
    run.cgn.refresh()
    noise, labels = run.cgn.draw_training_inputs(1, stream(0))
    _, terms = run.losses(noise, labels, [stream(1)])
    assert terms.keys() == REACHED.keys()
    divided = {name: [leaf for _, leaf in run.cgn.mechanism(name)._divided] for name in MECHANISMS}
    for loss, expected in REACHED.items():
        for leaves in divided.values():
            for leaf in leaves:
                leaf.grad = None
        terms[loss].backward(retain_graph=True)
        reached = {name for name, leaves in divided.items() if any(_moved(leaf) for leaf in leaves)}
        assert reached == expected, loss
    frozen: list[Any] = [run.cgn.saliency, run.vgg, run.teacher]
    assert not any(parameter.requires_grad for network in frozen for parameter in network.parameters())
    assert not any(leaf.requires_grad for _, leaf in frozen[2]._divided)


def _moved(leaf: Tensor) -> bool:
    return leaf.grad is not None and bool((leaf.grad != 0).any())


def test_losses_without_weight_are_nothing(vgg: VggFeatures) -> None:
    nothing: dict[str, Any] = dict.fromkeys(("lambda_l1", "lambda_binary", "lambda_size", "lambda_background"), 0.0)
    nothing |= dict.fromkeys(("content_weights", "style_weights", "texture_weights"), [0.0] * 4)
    run = training(vgg, **nothing)
    noise, labels = run.cgn.draw_training_inputs(1, stream(0))
    _, terms = run.losses(noise, labels, [stream(1)])
    assert {name: term.item() for name, term in terms.items()} == dict.fromkeys(REACHED, 0.0)


def test_a_refiner_changes_nothing_until_it_is_trained_and_then_the_composite_alone() -> None:
    plain, refined = new_cgn(), new_cgn(refiner_width=4)
    inputs_of_both = inputs(plain, 1, 2, 3)
    with torch.no_grad():
        before = plain(*inputs_of_both)
        assert all(torch.equal(*pair) for pair in zip(before, refined(*inputs_of_both), strict=True))
        refined.trained["refiner"].leave.bias.fill_(0.1)
        after = refined(*inputs_of_both)
    assert torch.allclose(after.composite, before.composite + 0.1)
    assert all(torch.equal(*pair) for pair in zip(before[:4], after[:4], strict=True))


def test_a_refiner_learns_from_the_losses_on_composites_alone(vgg: VggFeatures) -> None:
    run = training(vgg, refiner={"width": 4, "lr": 1e-3}, size_range=[0.98, 0.99], num_steps=1)
    run.cgn.refresh()
    noise, labels = run.cgn.draw_training_inputs(1, stream(0))
    _, terms = run.losses(noise, labels, [stream(1)])
    (bias,) = (part for name, part in run.cgn.trained["refiner"].named_parameters() if name == "leave.bias")
    for loss, term in terms.items():
        bias.grad = None
        term.backward(retain_graph=True)
        assert _moved(bias) is (loss in ("l1", "perceptual")), loss
    bias.grad = None
    before = bias.detach().clone()
    list(run.records())
    assert not torch.equal(bias, before)
    assert "refiner.leave.bias" in run.weights()


# ---- the loop


def test_how_many_images_at_a_time_changes_the_gradient_by_rounding_alone(vgg: VggFeatures) -> None:
    gradients: list[dict[str, Tensor]] = []
    for micro_batch in (1, 3, 4):
        run = training(vgg, micro_batch=micro_batch, num_steps=1)
        collected: dict[str, Tensor] = {}
        for name, optimizer in run.optimizers.items():
            optimizer.step = collect(run, name, collected)  # type: ignore[method-assign]
        list(run.records())
        gradients.append(collected)
    assert len(gradients[0]) == sum(1 for _ in run.cgn.trained.parameters())
    for name, expected in gradients[0].items():
        scale = expected.abs().max()
        for other in gradients[1:]:
            assert torch.allclose(other[name], expected, atol=1e-7 + 1e-3 * scale), name


def collect(run: ImagenetCgnTraining, name: str, into: dict[str, Tensor]) -> Callable[[], None]:
    """In place of a step: keep what it would have followed."""

    def step() -> None:
        for part, parameter in run.cgn.mechanism(name).named_parameters():
            assert parameter.grad is not None
            into[f"{name}.{part}"] = parameter.grad.clone()

    return step


def test_training_lowers_its_losses(vgg: VggFeatures) -> None:
    run = training(vgg, num_steps=5)

    def total() -> float:
        """On a batch that stays the same."""
        noise, labels = run.cgn.draw_training_inputs(4, stream(0))
        with torch.no_grad():
            return sum(term.item() for term in run.losses(noise, labels, [stream(1)] * 4)[1].values())

    before = total()
    records = list(run.records())
    assert total() < before
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5]
    assert records[-1]["images_seen"] == 20
    assert 0 < records[-1]["mask_mean"] < 1


def test_a_stopped_run_continues_to_the_same_weights(vgg: VggFeatures) -> None:
    whole = training(vgg, num_steps=3)
    list(whole.records())
    first = training(vgg, num_steps=1)
    list(first.records())
    second = training(vgg, num_steps=3)
    second.load_state_dict(first.state_dict())
    list(second.records())
    assert all(torch.equal(tensor, second.weights()[name]) for name, tensor in whole.weights().items())
    assert second.images_seen == whole.images_seen == 12


def test_averaged_weights_follow_the_trained_ones(vgg: VggFeatures) -> None:
    run = training(vgg, num_steps=1)
    name, before = next((name, part.clone()) for name, part in run.cgn.trained.named_parameters())
    list(run.records())
    after = run.cgn.trained.state_dict()[name]
    assert not torch.equal(before, after)
    assert torch.allclose(run.weights()[name], (before + after) / 2)


@pytest.mark.parametrize(
    ("after_share", "steps"),
    [(0.0, 2), (0.25, 3), (0.9, 4)],  # of four steps, where two outside the limits are enough
)
def test_a_run_ends_after_so_many_steps_with_masks_out_of_their_limits(
    vgg: VggFeatures, after_share: float, steps: int
) -> None:
    limits = {"after_share": after_share, "mask_mean": [0.98, 0.99], "for_steps": 2}
    run, records = training(vgg, collapse_stop=limits, num_steps=4), []
    if steps < 4:
        with pytest.raises(
            TrainingStoppedError, match=rf"step {steps}: the masks have collapsed: for 2 steps their mean"
        ):
            records.extend(run.records())
    else:
        records.extend(run.records())  # one step counts, and one alone is not enough
    assert run.step == steps


def test_steps_with_masks_out_of_their_limits_are_counted_over_an_interruption(vgg: VggFeatures) -> None:
    limits = {"after_share": 0.0, "mask_mean": [0.98, 0.99], "for_steps": 2}
    first = training(vgg, collapse_stop=limits, num_steps=3)
    next(first.records())
    second = training(vgg, collapse_stop=limits, num_steps=3)
    second.load_state_dict(first.state_dict())
    with pytest.raises(TrainingStoppedError, match="step 2: "):
        list(second.records())
    third = training(vgg, collapse_stop=limits, num_steps=3)
    third.load_state_dict(second.state_dict())
    with pytest.raises(TrainingStoppedError, match="step 2: "):  # and no step is taken after that
        list(third.records())


@pytest.mark.parametrize("others", [None, {"after_share": 0.0, "mask_mean": [0.0, 1.0], "for_steps": 2}])
def test_a_run_that_its_masks_have_ended_goes_on_with_other_limits(vgg: VggFeatures, others: dict | None) -> None:
    ended = training(vgg, collapse_stop={"after_share": 0.0, "mask_mean": [0.98, 0.99], "for_steps": 2}, num_steps=3)
    with pytest.raises(TrainingStoppedError, match="step 2: "):
        list(ended.records())
    run = training(vgg, collapse_stop=others, num_steps=3)
    run.load_state_dict(ended.state_dict())
    assert [record["step"] for record in run.records()] == [3]
    whole = training(vgg, collapse_stop=None, num_steps=3)
    list(whole.records())
    assert all(torch.equal(tensor, run.weights()[name]) for name, tensor in whole.weights().items())


def test_masks_within_their_limits_start_the_count_anew(vgg: VggFeatures) -> None:
    run = training(vgg, num_steps=10, collapse_stop={"after_share": 0.0, "mask_mean": [0.1, 0.9], "for_steps": 3})
    counts = []
    for mask_mean in (0.95, 0.05, 0.5, 0.95):
        run.step += 1
        run._watch_masks(mask_mean)
        counts.append(run.steps_outside)
    assert counts == [1, 2, 0, 1]


def test_without_limits_a_run_goes_on_whatever_its_masks(vgg: VggFeatures) -> None:
    run = training(vgg, collapse_stop=None)
    run.step = 1
    run._watch_masks(1.0)
    run._check_masks()
    assert run.steps_outside == 0


def test_more_processes_than_a_step_has_images_are_refused(vgg: VggFeatures) -> None:
    run = ImagenetRun(BUDGET, "float32", 0, Ranks(0, 5))
    with pytest.raises(InputError, match="num_processes: found 5, expected at most the 4 images of a step"):
        ImagenetCgnTraining(CONFIG, new_cgn(), random_biggan(TINY, 0), vgg, run)


def test_a_loss_that_is_no_number_stops_before_a_step_is_taken(vgg: VggFeatures) -> None:
    run = training(vgg, num_steps=2)
    records = run.records()
    next(records)
    run.cgn.mechanism("texture").generator.conv_to_rgb.bias.data[0] = torch.nan
    before = {name: part.clone() for name, part in run.cgn.trained.named_parameters()}
    with pytest.raises(
        InputError, match=r"step 2: found l1 nan, expected a finite number; lower the recipe's learning"
    ):
        next(records)
    after = dict(run.cgn.trained.named_parameters())
    assert all(torch.equal(part, after[name]) for name, part in before.items() if not name.endswith("rgb.bias"))
    assert run.step == 1


def test_a_gradient_that_is_no_number_stops_before_a_step_is_taken(vgg: VggFeatures) -> None:
    run = training(vgg, num_steps=1)
    losses = run.losses

    def with_a_bad_gradient(*inputs: Any) -> Any:
        layers, terms = losses(*inputs)
        terms["l1"] = terms["l1"] + 0 * layers.foreground.mean().sub(layers.foreground.mean()).sqrt()
        return layers, terms

    run.losses = with_a_bad_gradient  # type: ignore[method-assign]
    before = {name: part.clone() for name, part in run.cgn.trained.named_parameters()}
    with pytest.raises(InputError, match=r"step 1: found gradient_norm nan"):
        next(run.records())
    assert all(torch.equal(part, before[name]) for name, part in run.cgn.trained.named_parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"micro_batch": 4}, "micro_batch: found 4, .* expected less; try 2"),
        ({"micro_batch": 1}, "micro_batch: found 1, .*; set recompute to true"),
        ({"micro_batch": 1, "recompute": True}, "micro_batch: found 1, .*; take a smaller size_px"),
    ],
)
def test_too_little_memory_ends_with_what_to_try(vgg: VggFeatures, changes: dict[str, object], message: str) -> None:
    run = training(vgg, **changes)

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError

    run.losses = fail  # type: ignore[method-assign,assignment]
    with pytest.raises(InputError, match=message):
        next(run.records())


def test_bfloat16_gives_nearly_the_same_losses(vgg: VggFeatures) -> None:
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    found = [next(training(vgg, precision=precision).records()) for precision in precisions]
    for name in REACHED:
        assert found[1][name] == pytest.approx(found[0][name], rel=0.1, abs=1e-6), name
