"""How classifiers of natural images are trained: what trains which head, which images are shown, and that nothing else matters."""

import functools
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_training import PX, Noise, classifier, same, setting, training
from torch import Tensor, nn
from torch.nn import functional as F

from cgn.checkpoints import load_state, save_state
from cgn.classifiers.ensemble import averaged, factor_losses, num_known, real_loss
from cgn.classifiers.imagenet_fit import ImagenetTraining
from cgn.classifiers.imagenet_order import ImageOrder
from cgn.classifiers.imagenet_sources import TrainingImages
from cgn.data.preprocessing import Square
from cgn.errors import InputError
from cgn.models.ensemble import ONE_HEAD, THREE_HEADS
from cgn.ranks import Ranks
from cgn.rng import stream
from stages.ranks import run_ranks

# ---- the learning rule


def logits_of(num: int) -> dict[str, Tensor]:
    rng = stream(0, "logits")
    return {head: torch.randn(num, 10, generator=rng, requires_grad=True) for head in THREE_HEADS}


def test_real_images_are_told_by_the_mean_of_all_heads() -> None:
    logits, labels = logits_of(6), torch.arange(6)
    assert torch.allclose(averaged(logits), (logits["shape"] + logits["texture"] + logits["background"]) / 3)
    loss = real_loss(logits, labels, num=6)
    assert torch.allclose(loss, F.cross_entropy(averaged(logits), labels))
    loss.backward()
    gradients = [part.grad for part in logits.values()]
    assert all(torch.equal(gradients[0], part) for part in gradients[1:])  # type: ignore[arg-type]


def test_a_counterfactual_trains_each_head_on_its_own_factor_alone() -> None:
    logits, classes = logits_of(4), torch.tensor([[0, 5, 1], [1, 6, 2], [2, 7, 3], [3, 8, 4]])
    losses = factor_losses(logits, classes, nums=num_known(classes))
    for place, head in enumerate(THREE_HEADS):
        assert torch.allclose(losses[head], F.cross_entropy(logits[head], classes[:, place]))
    losses["texture"].backward()
    assert logits["texture"].grad is not None
    assert logits["shape"].grad is None
    assert logits["background"].grad is None


def test_a_factor_that_is_unknown_trains_nothing() -> None:
    logits, classes = logits_of(3), torch.tensor([[0, 1, -1], [1, -1, -1], [2, 3, -1]])
    nums = num_known(classes)
    assert nums == {"shape": 3, "texture": 2, "background": 0}
    losses = factor_losses(logits, classes, nums=nums)
    assert torch.allclose(losses["texture"], F.cross_entropy(logits["texture"][[0, 2]], torch.tensor([1, 3])))
    assert losses["background"] == 0
    torch.stack(list(losses.values())).sum().backward()
    assert logits["texture"].grad is not None
    assert (logits["texture"].grad[1] == 0).all()
    assert logits["background"].grad is not None
    assert (logits["background"].grad == 0).all()


@pytest.mark.parametrize("cut", [1, 2])
def test_a_head_without_a_loss_and_a_share_of_the_average_moves_nowhere(cut: int) -> None:
    """Of the counterfactuals' losses each reaches its own head and the trunk; the real one reaches everything."""
    network = classifier(cut=cut)
    images = Noise(4)
    pixels = torch.stack([images.pixels(row, 0) for row in range(4)])
    losses = factor_losses(network(pixels), images.classes, nums=num_known(images.classes))
    for head, loss in losses.items():
        network.zero_grad()
        loss.backward(retain_graph=True)
        for other, end in network.ends.items():
            moved = any(part.grad is not None and bool(part.grad.any()) for part in end.parameters())
            assert moved == (head == other)
        assert all(part.grad is not None and bool(part.grad.any()) for part in network.trunk[0].parameters())


def test_a_head_learns_its_factor_and_not_the_others() -> None:
    """A pixel's value per factor: the heads can be told apart by what they answer to."""

    class Levels(Noise):
        def __init__(self, num: int, seed: int) -> None:
            super().__init__(num, seed=seed)
            self.classes %= 3

        def pixels(self, row: int, passes: int) -> Square:
            return (self.classes[row] * 100).to(torch.uint8)[:, None, None].expand(3, PX, PX).contiguous()

    images = Levels(300, seed=3)
    run = training(
        setting(num_epochs=20, batch_size=20, lr=0.05, lr_milestones=[15]),
        sources={"images": Levels(100, seed=4)},
        made=images,
        cf_ratio=3.0,
    )
    list(run.records())
    pixels = torch.stack([images.pixels(row, 0) for row in range(300)])
    with torch.no_grad():
        said = {head: logits.argmax(1) for head, logits in run.network.eval()(pixels).items()}
    for place, head in enumerate(THREE_HEADS):
        for factor in range(3):
            share = (said[head] == images.classes[:, factor]).float().mean()
            assert share > 0.9 if factor == place else share < 0.45


# ---- which images are shown


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    weights=st.lists(st.floats(0.3, 3), min_size=3, max_size=3),
    start=st.integers(0, 200),
    num=st.integers(1, 50),
)
def test_sources_have_their_shares_and_pass_through_all_their_images(
    sizes: list[int], weights: list[float], start: int, num: int
) -> None:
    names = [str(number) for number in range(len(sizes))]
    shares = dict(zip(names, weights, strict=False))
    block = 20 + sum(sizes)
    order = ImageOrder(dict(zip(names, sizes, strict=True)), shares, block=block, seed=0, name="x")
    places = order.places(0, 4 * block)
    for number, (name, size) in enumerate(zip(names, sizes, strict=True)):
        of_source = [place for place in places if place.source == number]
        assert abs(len(of_source) - 4 * block * shares[name] / sum(shares.values())) <= 4
        seen = [(place.row, place.passes) for place in of_source]
        assert len(set(seen)) == len(seen)
        for passes in range(max((place.passes for place in of_source), default=0)):
            assert sorted(place.row for place in of_source if place.passes == passes) == list(range(size))
    again = ImageOrder(dict(zip(names, sizes, strict=True)), shares, block=block, seed=0, name="x")
    assert again.places(start, start + num) == order.places(0, start + num)[start:]
    counts = order.counts_before(start)
    assert [counts[name] for name in names] == [
        sum(place.source == number for place in order.places(0, start)) for number in range(len(names))
    ]


@pytest.mark.parametrize("ratio", [0.05, 0.3, 1.0, 2.5])
def test_counterfactuals_have_their_exact_share_over_steps(ratio: float) -> None:
    run = training(cf_ratio=ratio)
    nums = []
    for step in range(40):
        places, num_real = run.steps.places(step)
        assert num_real == 8
        assert all(place.source == 1 for place in places[num_real:])
        nums.append(len(places) - num_real)
        assert abs(sum(nums) - 8 * ratio * (step + 1)) < 1
    assert max(nums) - min(nums) <= 1
    assert run.shares()["counterfactuals"] == math.floor(8 * ratio * run.num_steps)


def test_a_ratio_that_leaves_steps_without_counterfactuals_trains_all_the_same() -> None:
    run = training(setting(num_epochs=1), cf_ratio=0.01)
    (record,) = run.records()
    assert run.shares() == {"images": 56, "counterfactuals": 0}
    assert math.isfinite(record["real"])
    assert math.isnan(record["shape"])


def test_an_epoch_has_as_many_images_as_the_sources_together() -> None:
    sources = {"images": Noise(50), "stylized": Noise(14, seed=5)}
    run = training(setting(num_epochs=3), sources=sources, weights={"images": 3.0, "stylized": 1.0})
    assert (run.steps_per_epoch, run.num_steps) == (8, 24)
    assert run.shares() == {"images": 144, "stylized": 48, "counterfactuals": 192}


def test_milestones_move_where_another_number_of_epochs_stands_in_for_the_recipes() -> None:
    how = setting(num_epochs=4, lr_milestones=[1, 3], lr=1.0)
    plain, longer = training(how), training(how._replace(num_epochs=8))
    assert [plain.lr(step) for step in (0, 6, 7, 20, 21)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert [longer.lr(step) for step in (13, 14, 41, 42)] == pytest.approx([1, 0.1, 0.1, 0.01])


# ---- nothing else matters


def test_a_run_that_is_stopped_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    def start() -> ImagenetTraining:
        return training(setting(num_epochs=4), network=classifier(dropout=0.5))

    whole = start()
    records = list(whole.records())
    assert len(records) == 3
    first = start()
    stopped = first.records()
    next(stopped)
    save_state(tmp_path / "state.pt", {"training": first.state_dict()})
    next(stopped)
    second = start()
    state = load_state(tmp_path / "state.pt")
    assert state is not None
    second.load_state_dict(state["training"])
    assert list(second.records()) == records[1:]
    assert same(whole.weights(), second.weights())


def test_processes_that_decode_change_no_byte() -> None:
    before = torch.random.get_rng_state()
    runs = [training(setting(num_workers=num), network=classifier(dropout=0.5)) for num in (0, 2)]
    records = [list(run.records()) for run in runs]
    assert records[0] == records[1]
    assert same(runs[0].weights(), runs[1].weights())
    assert torch.equal(torch.random.get_rng_state(), before)


def alongside(folder: Path, ranks: Ranks) -> None:
    """A part of a training, from a process that pickle can find."""
    torch.set_num_threads(1)
    how = setting(freeze_batch_norm=True, ranks=ranks)
    run = training(how, cf_ratio=0.5)
    records = list(run.records())
    if ranks.rank == 0:
        save_state(folder / "state.pt", {"weights": run.weights(), "records": records})


def test_two_processes_train_to_the_weights_of_one_by_rounding(tmp_path: Path) -> None:
    found = []
    for num in (1, 2):
        run_ranks(num, functools.partial(alongside, tmp_path))
        state = load_state(tmp_path / "state.pt")
        assert state is not None
        found.append(state)
    for one, two in zip(found[0]["records"], found[1]["records"], strict=True):
        assert one == pytest.approx(two, rel=1e-4)
    start = classifier().state_dict()
    for name, tensor in found[0]["weights"].items():
        moved = (tensor - start[name]).float().norm()
        assert (found[1]["weights"][name] - tensor).float().norm() <= 1e-3 * moved + 1e-7


def test_statistics_of_batches_are_not_shared_between_processes_on_cpus() -> None:
    message = r"imagenet_training.mine.freeze_batch_norm: found false with 2 processes on CPUs, expected true"
    with pytest.raises(InputError, match=message):
        training(setting(ranks=Ranks(0, 2)))
    with pytest.raises(InputError, match="num_processes: found 9, expected at most the 8 real images of a step"):
        training(setting(ranks=Ranks(0, 9), freeze_batch_norm=True))


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_batch_normalisation_keeps_its_statistics_and_learns_its_scale(frozen: bool) -> None:
    run = training(setting(freeze_batch_norm=frozen))
    layer = run.network.trunk[1]
    assert isinstance(layer, nn.BatchNorm2d)
    assert layer.running_mean is not None
    before = [part.clone() for part in (layer.running_mean, layer.weight)]
    list(run.records())
    assert torch.equal(layer.running_mean, before[0]) == frozen
    assert not torch.equal(layer.weight, before[1])


def test_one_head_without_counterfactuals_is_plain_training() -> None:
    """The same weights as a loop that is written out here."""
    images, how = Noise(20), setting(num_epochs=1, batch_size=5)
    network = classifier(ONE_HEAD)
    run = ImagenetTraining(network, {"images": images}, {"images": 1.0}, how)
    order = [run.steps.places(step)[0] for step in range(4)]
    list(run.records())
    other = classifier(ONE_HEAD).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(other.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    for places in order:
        pixels = torch.stack([images.pixels(place.row, place.passes) for place in places])
        labels = torch.tensor([images.labels(place.row, 0)[0] for place in places])
        optimizer.zero_grad()
        F.cross_entropy(other(pixels)["only"], labels).backward()
        optimizer.step()
    for name, tensor in other.state_dict().items():
        assert torch.allclose(run.weights()[name].float(), tensor.float(), atol=1e-5)


# ---- what cannot be trained


def test_a_loss_that_is_no_number_ends_the_run_and_names_what_to_change() -> None:
    with pytest.raises(
        InputError, match=r"step 10: found real .*, expected a finite number; lower imagenet_training.mine.lr"
    ):
        list(training(setting(lr=1e12)).records())


def test_heads_and_counterfactuals_go_together() -> None:
    images: dict[str, TrainingImages] = {"images": Noise(4)}
    with pytest.raises(InputError, match="heads: found only and counterfactuals, expected three heads with them"):
        training(network=classifier(ONE_HEAD))
    with pytest.raises(InputError, match="heads: found shape, texture, background and no counterfactuals"):
        ImagenetTraining(classifier(), images, {"images": 1.0}, setting())


def test_a_source_without_images_or_with_hardly_any_weight_is_named() -> None:
    with pytest.raises(InputError, match=r"mix.images: found no images"):
        training(sources={"images": Noise(0)})
    with pytest.raises(InputError, match=r"mix.stylized: found weight 1e-06, by which none of an epoch's 64 images"):
        training(sources={"images": Noise(50), "stylized": Noise(10)}, weights={"images": 1.0, "stylized": 1e-6})
