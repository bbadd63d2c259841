"""Facts about the classifiers: the network, the learning rules, the one training loop and its predictions."""

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import torch
from tiny_classifiers import PARAMS, bars, budget, same, trained, training
from torch import Tensor, nn
from torch.nn.utils import parametrize

import cgn.classifiers.fit
from cgn.checkpoints import FILE_NAME, load_into, load_state, save_state
from cgn.classifiers import METHODS, Method, TrainingBatch
from cgn.classifiers.edges import begin_with_edges, weights_of
from cgn.classifiers.fit import ClassifierTraining, draw_order, schedule
from cgn.classifiers.prediction import predict
from cgn.composer import to_images
from cgn.config import ErmConfig, MethodConfig
from cgn.models.classifiers import Cnn
from cgn.rng import stream
from cgn.training import seeded

OF_RULE: dict[str, MethodConfig] = {config.rule: config for config in PARAMS.methods.values()}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    torch.set_flush_denormal(False)


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgn.classifiers.fit, "_LOG_EVERY_STEPS", 1)


# ---- network


def test_the_digit_classifier_has_the_papers_67760_parameters() -> None:
    assert sum(weight.numel() for weight in Cnn().parameters()) == 67_760


def test_the_classifier_does_not_mind_the_contrast_of_a_batch_while_it_trains() -> None:
    network, images = Cnn().train(), to_images(bars(20).pixels)
    logits = network(images)
    torch.testing.assert_close(network(0.5 * images + 0.2), logits, atol=5e-4 * logits.abs().max().item(), rtol=0)


def plain(network: Cnn) -> tuple[nn.Sequential, dict[str, str]]:
    """The classifier as the paper writes it, and where each of its first two layers' tensors stands in ours."""
    first = network[0]
    batch_norm, convolution = nn.BatchNorm2d(3), nn.Conv2d(3, 32, 5, padding=2)
    names = {"0.weight": "0.scale", "0.bias": "0.offset", "1.weight": "0.weight", "1.bias": "0.bias"}
    names |= {f"0.{name}": f"0.{name}" for name in ("running_mean", "running_var")}
    rest = [copy.deepcopy(layer) for layer in list(network)[3:]]
    result = nn.Sequential(batch_norm, convolution, nn.ReLU(), nn.MaxPool2d(2), *rest)
    tensors = network.state_dict()
    result.load_state_dict({own: tensors[ours].clone() for own, ours in names.items()}, strict=False)
    assert first.padding == convolution.padding
    return result, names


@pytest.mark.parametrize("train", [True, False])
def test_the_fused_first_layer_is_batch_normalisation_and_a_convolution(train: bool) -> None:
    network = seeded(3, Cnn)
    with torch.no_grad():
        network[0].scale.copy_(torch.tensor([0.5, 1.5, -2.0]))
        network[0].offset.copy_(torch.tensor([1.0, -0.5, 2.0]))  # padding shows where an offset is not exact
        network[0].running_mean.fill_(0.3)
        network[0].running_var.fill_(2.0)
    expected, names = plain(network)
    images, labels = torch.randn(20, 3, 32, 32, generator=stream(0)), torch.arange(20) % 10
    logits, expected_logits = network.train(train)(images), expected.train(train)(images)
    torch.testing.assert_close(logits, expected_logits, atol=1e-4, rtol=1e-4)
    for each in (logits, expected_logits):
        nn.functional.cross_entropy(each, labels).backward()
    ours, theirs = dict(network.named_parameters()), dict(expected.named_parameters())
    for own, name in names.items():
        if own in theirs:
            torch.testing.assert_close(ours[name].grad, theirs[own].grad, atol=1e-4, rtol=1e-3)
        else:
            torch.testing.assert_close(network.state_dict()[name], expected.state_dict()[own])
    torch.testing.assert_close(ours["11.weight"].grad, theirs["12.weight"].grad, atol=1e-4, rtol=1e-3)


# ---- filters that begin as edge detectors


def edged(seed: int = 0) -> tuple[Cnn, nn.Parameter]:
    """A network that begins with edges, and the means of its first filters."""
    network = seeded(seed, Cnn)
    begin_with_edges(network)
    return network, network[0].parametrizations.weight.original1


def test_filters_see_no_plain_area_inside_an_image_until_they_have_learned_to() -> None:
    network, means = edged()
    first, grey = network[0].eval(), torch.full((1, 3, 32, 32), 0.7)
    assert first(grey)[:, :, 2:-2, 2:-2].abs().max() < 1e-5
    with torch.no_grad():
        means[4, 1] = 0.5
    said = first(grey)[0, :, 16, 16]
    assert said[4].item() == pytest.approx(25 * 0.5 * 0.7, rel=1e-3)
    assert said[:4].abs().max() < 1e-5


def test_begun_with_edges_all_but_the_filters_means_is_as_before() -> None:
    before, (network, means) = seeded(0, Cnn), edged()
    with torch.no_grad():
        means.copy_(before[0].weight.mean((2, 3)))
    after = weights_of(network)
    assert after.keys() == before.state_dict().keys()
    assert all(torch.allclose(after[name], tensor, atol=1e-6) for name, tensor in before.state_dict().items())


def test_what_the_first_layer_says_of_plain_areas_learns_at_its_share_of_the_rate(every_step: None) -> None:
    """AdamW's first step is as long as the rate, whatever the gradient."""
    run = training(num_images=16, precision="float32", plain_area_lr_share=0.25)
    before = {name: weight.clone() for name, weight in run.network.named_parameters()}
    list(run.records())
    moved = {name: (weight - before[name]).abs().max().item() for name, weight in run.network.named_parameters()}
    slow = {"0.parametrizations.weight.original1", "0.offset", "0.bias"}
    assert {name: moved[name] for name in slow} == pytest.approx(dict.fromkeys(slow, 0.003 * 0.25), rel=1e-3)
    fast = moved.keys() - slow
    assert {name: moved[name] for name in fast} == pytest.approx(dict.fromkeys(fast, 0.003), rel=1e-2)


def test_a_rules_own_classifiers_begin_with_edges_too() -> None:
    run = training(config=OF_RULE["lff"], plain_area_lr_share=0.25)
    (_, fast), (_, slow) = ((group["lr_share"], group["params"]) for group in run.optimizer.param_groups)
    assert len(slow) == 2 * 3
    for classifier in (run.network, run.method.biased):
        assert parametrize.is_parametrized(classifier[0])
    assert len(fast) + len(slow) == len([*run.network.parameters(), *run.method.parameters()])


def test_at_the_whole_rate_the_first_layer_is_as_any_other() -> None:
    run = training(config=OF_RULE["lff"])
    assert len(run.optimizer.param_groups) == 1
    assert not any(parametrize.is_parametrized(part) for part in (*run.network, *run.method.modules()))


def test_a_network_that_began_with_edges_is_saved_as_any_other(every_step: None) -> None:
    run = training(plain_area_lr_share=0.25)
    weights = trained(run)
    network, images = Cnn(), bars(50, seed=2).pixels
    network.load_state_dict(weights)
    for found, expected in zip(
        *(predict(one, images, precision="bfloat16") for one in (network, run.network)), strict=True
    ):
        assert torch.equal(found, expected)


# ---- learning rules


def test_the_registry_the_configuration_and_params_yaml_name_the_same_rules() -> None:
    configured = {get_args(config.model_fields["rule"].annotation)[0] for config in get_args(MethodConfig)}
    assert set(METHODS) == configured == set(OF_RULE)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("rule", METHODS)
def test_a_classifier_learns_by_every_rule(rule: str, precision: str) -> None:
    run = training(config=OF_RULE[rule], precision=precision, num_images=3840, batch_size=64)
    trained(run)
    new = bars(200, seed=9)
    predicted, _ = predict(run.network, new.pixels, precision="float32")
    assert (predicted == new.labels).float().mean() > 0.8  # chance is 0.1


# ---- the loop


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first = trained(training(seed=0))
    assert same(first, trained(training(seed=0)))
    assert not same(first, trained(training(seed=1)))


def test_training_neither_reads_nor_moves_the_global_random_state() -> None:
    state = torch.get_rng_state()
    first = trained(training())
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(7)
    assert same(first, trained(training()))


@pytest.mark.parametrize(("rule", "stopped_at"), [("erm", 1), ("erm", 9), *((rule, 4) for rule in METHODS)])
def test_a_stopped_training_continues_to_the_same_weights_and_records(
    rule: str, stopped_at: int, every_step: None, tmp_path: Path
) -> None:
    config = OF_RULE[rule]
    whole = training(config=config, plain_area_lr_share=0.25)
    records = list(whole.records())

    stopped = training(config=config, plain_area_lr_share=0.25)
    run = stopped.records()
    before = [next(run) for _ in range(stopped_at)]
    save_state(tmp_path / "state.pt", stopped.state_dict())
    list(run)  # what the lost process did after its last state

    resumed = training(config=config, plain_area_lr_share=0.25)
    state = load_state(tmp_path / "state.pt")
    assert state is not None
    resumed.load_state_dict(state)
    assert before + list(resumed.records()) == records
    assert same(resumed.weights(), whole.weights())


def test_the_learning_rate_warms_up_and_falls_to_zero_as_a_cosine() -> None:
    factors = [schedule(step, 1000) for step in range(1000)]
    assert factors[0] == pytest.approx(1 / 50)
    assert factors[500] == pytest.approx(0.5)
    assert max(factors) == factors[49]
    assert 0 < factors[-1] < 1e-5


def test_records_end_with_the_last_image_and_count_every_image() -> None:
    records = list(training(num_images=60 * 16).records())
    assert [(record["step"], record["images_seen"]) for record in records] == [(50, 800), (60, 960)]


def test_a_loss_that_is_no_number_stops_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Method):
        def loss(self, network: Cnn, batch: TrainingBatch, progress: float) -> Tensor:
            return network(batch.images).float().mean() * math.nan

    monkeypatch.setitem(METHODS, "erm", Broken)
    with pytest.raises(ValueError, match=r"step 10: the loss is nan; lower scales\.<scale>\.classifier\.lr"):
        list(training().records())


def test_weights_for_other_sources_than_given_are_refused() -> None:
    config = ErmConfig(rule="erm", mix={"generated": 1.0})
    with pytest.raises(ValueError, match=r"found weights for \['generated'\], expected them for \['train'\]"):
        ClassifierTraining(config, {"train": bars(10)}, budget(), precision="float32", seed=0, plain_area_lr_share=1.0)


# ---- the order of the images


def test_images_are_drawn_from_the_sources_by_the_mix() -> None:
    rows, source = draw_order({"train": 300, "generated": 700}, {"train": 0.25, "generated": 0.75}, 40_000, seed=0)
    assert source.bincount().tolist() == [10_000, 30_000]
    assert source[:4_000].float().mean().item() == pytest.approx(0.75, abs=0.03)  # in random order
    assert torch.equal(source, (rows >= 300).long())


def test_only_the_ratio_of_mix_weights_counts() -> None:
    sizes = {"train": 30, "generated": 70}
    fractions = draw_order(sizes, {"train": 0.25, "generated": 0.75}, 1000, seed=0)
    counts = draw_order(sizes, {"train": 1.0, "generated": 3.0}, 1000, seed=0)
    assert all(torch.equal(left, right) for left, right in zip(fractions, counts, strict=True))


def test_within_a_source_every_epoch_shows_every_image_once_in_a_new_order() -> None:
    sizes = {"train": 30, "generated": 70}
    rows, source = draw_order(sizes, {"train": 0.5, "generated": 0.5}, 1000, seed=0)
    for number, (first, size) in enumerate([(0, 30), (30, 70)]):
        drawn = rows[source == number]
        epochs = drawn[: len(drawn) // size * size].reshape(-1, size)
        assert len(epochs) > 5
        assert torch.equal(epochs.sort(dim=1).values, torch.arange(first, first + size).expand(len(epochs), -1))
        assert len(epochs.unique(dim=0)) == len(epochs)


def test_the_shares_of_a_run_count_every_image_that_it_sees() -> None:
    sources = {"train": bars(20), "generated": bars(40, seed=1)}
    config = ErmConfig(rule="erm", mix={"train": 0.25, "generated": 0.75})
    run = ClassifierTraining(config, sources, budget(), precision="float32", seed=0, plain_area_lr_share=1.0)
    shares = list(run.shares().values())
    assert sum(shares) == 160
    assert shares == [int((run.order < 20).sum()), int((run.order >= 20).sum())]


# ---- predictions


def test_predictions_are_the_most_probable_classes_and_leave_the_network_alone() -> None:
    run = training(num_images=640)
    trained(run)
    before, pixels = copy.deepcopy(run.weights()), bars(50, seed=2).pixels
    classes, confidence = predict(run.network, pixels, precision="float32", batch_size=16)
    run.network.eval()
    with torch.inference_mode():
        expected = run.network(to_images(pixels)).softmax(1)
    assert torch.equal(classes, expected.argmax(1))
    torch.testing.assert_close(confidence, expected.amax(1))
    assert same(run.weights(), before)


def test_a_trained_classifier_recognises_images_that_it_has_not_seen() -> None:
    run, unseen = training(num_images=3200), bars(100, seed=3)
    trained(run)
    classes, _ = predict(run.network, unseen.pixels, precision="bfloat16")
    assert (classes == unseen.labels).float().mean() > 0.9


def test_weights_of_another_architecture_are_refused_by_their_name(tmp_path: Path) -> None:
    tensors = dict(Cnn().state_dict()) | {"0.weight": torch.zeros(16, 3, 5, 5)}
    path = tmp_path / FILE_NAME
    with pytest.raises(
        ValueError, match=r"another architecture: 0\.weight is \(16, 3, 5, 5\), expected \(32, 3, 5, 5\)"
    ):
        load_into(Cnn(), tensors, path)
