"""How classifiers of natural images are trained: what trains which head, which images are shown, and that nothing else matters."""

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from cgn.checkpoints import load_state, save_state
from cgn.classifiers.ensemble import averaged, factor_losses, num_known, real_loss
from cgn.classifiers.imagenet_fit import FitSetting, ImagenetTraining
from cgn.classifiers.imagenet_order import ImageOrder
from cgn.classifiers.imagenet_sources import EncodedImages, SwappedImages, TrainingImages, of_in9
from cgn.classifiers.last_layer import LastLayerTraining, logistic_regression
from cgn.config import TrainingRecipe
from cgn.data.preprocessing import Square, as_pixels, training_pixels
from cgn.encoded import Encoded, Samples
from cgn.errors import InputError
from cgn.models.backbones import Backbone, Preprocessing
from cgn.models.ensemble import ONE_HEAD, THREE_HEADS, HeadedClassifier, form_of, headed
from cgn.ranks import Ranks
from cgn.rng import stream
from cgn.training import seeded
from stages.ranks import run_ranks

PX = 16
HALF = (0.5, 0.5, 0.5)


def classifier(heads: tuple[str, ...] = THREE_HEADS, *, cut: int = 1, dropout: float = 0.0) -> HeadedClassifier:
    def build() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 8, 3, stride=2),
            nn.AvgPool2d(3),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(8, 10),
        )

    backbone = Backbone(seeded(0, build), "own", "", "random", "", Preprocessing(PX, PX, "bilinear", HALF, HALF))
    form = form_of(backbone, heads=heads, classes="digits", cut=cut, linear=False, image_px=PX)
    return headed(backbone, form, seed=0, config={})


class Noise:
    """Images of which every pass shows another crop, as far as training can tell."""

    def __init__(self, num: int, *, known: bool = True, seed: int = 0) -> None:
        self.classes = torch.randint(0, 10, (num, 3), generator=stream(seed, "classes"))
        if not known:
            self.classes[::2, 2] = -1
        self.seed = seed

    def __len__(self) -> int:
        return len(self.classes)

    def labels(self, row: int, passes: int) -> tuple[int, int, int]:
        shape, texture, background = self.classes[row].tolist()
        return shape, texture, background

    def pixels(self, row: int, passes: int) -> Square:
        rng = stream(self.seed, row, passes)
        return torch.randint(0, 256, (3, PX, PX), generator=rng, dtype=torch.uint8)


def recipe(**changes: Any) -> TrainingRecipe:
    given = {
        "num_epochs": 2,
        "batch_size": 8,
        "lr": 0.05,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "lr_milestones": [1],
        "lr_factor": 0.1,
        "freeze_batch_norm": False,
    }
    return TrainingRecipe.model_validate({**given, **changes})


def setting(**changes: Any) -> FitSetting:
    of_recipe = {name: changes.pop(name) for name in list(changes) if name in TrainingRecipe.model_fields}
    chosen = recipe(**of_recipe)
    given = {"num_epochs": chosen.num_epochs, "batch_size": chosen.batch_size, "field": "imagenet_training.mine"}
    return FitSetting(chosen, "float32", 0, **{**given, **changes})


def training(
    how: FitSetting | None = None,
    *,
    sources: Mapping[str, TrainingImages] | None = None,
    weights: Mapping[str, float] | None = None,
    made: TrainingImages | None = None,
    cf_ratio: float = 1.0,
    network: HeadedClassifier | None = None,
) -> ImagenetTraining:
    return ImagenetTraining(
        network or classifier(),
        sources or {"images": Noise(50)},
        weights or {"images": 1.0},
        how or setting(),
        counterfactuals=made or Noise(30, known=False, seed=1),
        cf_ratio=cf_ratio,
    )


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(one[name], tensor) for name, tensor in other.items())


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


# ---- sources


def stored(folder: Path, name: str, colours: list[tuple[int, int, int]], *, grey: bool = False) -> list[Encoded]:
    found = []
    for number, colour in enumerate(colours):
        image = Image.new("RGB", (PX, PX), colour)
        path = folder / f"{name}-{number}.png"
        (image.convert("L") if grey else image).save(path)
        found.append(Encoded(path))
    return found


def samples_of(images: list[Encoded], classes: list[list[int]], name: str = "x") -> Samples:
    return Samples(images, [f"{name}-{number}" for number in range(len(images))], torch.tensor(classes))


def whole(image: Image.Image, _: torch.Generator) -> Square:
    return as_pixels(image)


def test_swapped_images_are_objects_before_backgrounds_of_others_drawn_anew(tmp_path: Path) -> None:
    classes = [[number] * 3 for number in (3, 4, 5, 6)]
    objects = samples_of(stored(tmp_path, "object", [(200, 10 * n, 0) for n in range(4)]), classes)
    backgrounds = samples_of(stored(tmp_path, "back", [(0, 10 * n, 100) for n in range(4)]), classes)
    half = Image.new("L", (PX, PX))
    half.paste(255, (0, 0, PX // 2, PX))
    masks = []
    for number in range(4):
        half.save(tmp_path / f"mask-{number}.png")
        masks.append(Encoded(tmp_path / f"mask-{number}.png"))
    images = SwappedImages(objects, samples_of(masks, classes), backgrounds, whole, seed=0, name="swapped")
    partners = set()
    for row in range(4):
        for passes in range(20):
            other = images.partner(row, passes)
            assert other != row
            pixels = images.pixels(row, passes)
            assert pixels[:, 5, 2].tolist() == [200, 10 * row, 0]
            assert pixels[:, 5, -2].tolist() == [0, 10 * other, 100]
            assert images.labels(row, passes) == (row + 3, row + 3, other + 3)
            partners.add((row, other))
    assert len(partners) == 12  # every other image at some time
    Image.new("L", (8, 8)).save(tmp_path / "mask-2.png")
    with pytest.raises(InputError, match=r"x-2: found an image of \(16, 16\), its mask of \(8, 8\)"):
        images.pixels(2, 0)
    with pytest.raises(InputError, match="swapped: found 4 objects, 4 masks and 1 backgrounds"):
        SwappedImages(objects, samples_of(masks, classes), samples_of(masks[:1], classes[:1]), whole, seed=0, name="x")


def test_what_is_drawn_of_an_image_depends_on_the_pass_and_on_the_seed(tmp_path: Path) -> None:
    picture = torch.randint(0, 256, (40, 30, 3), generator=stream(0), dtype=torch.uint8).numpy()
    Image.fromarray(picture).save(tmp_path / "a.png")
    samples = samples_of([Encoded(tmp_path / "a.png")], [[1, 1, 1]])

    def prepare(image: Image.Image, rng: torch.Generator) -> Square:
        return training_pixels(image, PX, rng)

    views = [
        EncodedImages(samples, prepare, seed=seed, name=name).pixels(0, passes)
        for seed, name, passes in ((0, "x", 0), (0, "x", 1), (1, "x", 0), (0, "y", 0), (0, "x", 0))
    ]
    assert torch.equal(views[0], views[4])
    assert len({view.numpy().tobytes() for view in views}) == 4


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_image_that_cannot_be_read_ends_the_run_and_is_named(tmp_path: Path, num_workers: int) -> None:
    images = stored(tmp_path, "a", [(0, 0, 0)] * 4)
    images[2].path.write_bytes(images[2].path.read_bytes()[:40])
    source = EncodedImages(samples_of(images, [[0] * 3] * 4), whole, seed=0, name="images")
    run = training(setting(num_workers=num_workers), sources={"images": source})
    with pytest.raises(InputError, match=r"^\S*a-2.png: found no picture .*mend it or take it out$"):
        list(run.records())
    images[2].path.unlink()
    with pytest.raises(InputError, match=r"a-2.png is missing; run `dvc repro`"):
        source.pixels(2, 0)


def test_only_images_of_imagenet_9_are_kept_with_its_labels(tmp_path: Path) -> None:
    images = stored(tmp_path, "a", [(0, 0, 0)] * 4)
    samples = samples_of(images, [[0, 0, 0], [999, 999, 999], [151, 999, -1], [999, 151, 7]])
    real = of_in9(samples, of=0, what="images")
    assert list(real.keys) == ["x-0", "x-2"]
    assert real.classes.tolist() == [[8, 8, 8], [0, -1, -1]]
    assert [image.path.name for image in real.images] == ["a-0.png", "a-2.png"]
    made = of_in9(samples, of=None, what="generated")
    assert made.classes.tolist() == [[8, 8, 8], [0, -1, -1], [-1, 0, 1]]
    with pytest.raises(InputError, match="generated: found none of ImageNet-9's classes among 1 images"):
        of_in9(samples_of(images[:1], [[999] * 3]), of=None, what="generated")


# ---- the last layer


def separable(num: int) -> tuple[Tensor, Tensor]:
    labels = torch.arange(num) % 3
    features = torch.randn(num, 5, generator=stream(0, "features")) + 1.5 * F.one_hot(labels, 5)
    return features * torch.tensor([1.0, 10.0, 0.1, 1.0, 1.0]), labels


def test_a_regression_is_scikit_learns() -> None:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    features, labels = separable(60)
    l2 = 0.01
    fit = logistic_regression(features, labels, torch.full((60,), 1 / 60), num_classes=3, l2=l2, field="x")
    standardised = (features - features.mean(0)) / features.std(0, correction=0)
    other = LogisticRegression(C=1 / (l2 * 60), tol=1e-8, max_iter=5000).fit(standardised.numpy(), labels.numpy())
    expected = torch.from_numpy(other.predict_proba(standardised.numpy())).float()
    assert torch.allclose((features @ fit.weight.T + fit.bias).softmax(1), expected, atol=1e-4)
    assert fit.gradient < 1e-5


def test_weights_of_images_count_as_if_they_were_there_several_times() -> None:
    features, labels = separable(30)
    shares = torch.ones(30)
    shares[:10] = 3
    one = logistic_regression(features, labels, shares, num_classes=3, l2=0.1, field="x")
    again = torch.cat([features, features[:10], features[:10]]), torch.cat([labels, labels[:10], labels[:10]])
    two = logistic_regression(*again, torch.ones(50), num_classes=3, l2=0.1, field="x")
    assert torch.allclose(one.weight, two.weight, atol=1e-4)
    assert one.loss == pytest.approx(two.loss, rel=1e-5)


def test_a_constant_feature_and_a_class_without_images_do_no_harm() -> None:
    features, labels = separable(30)
    features = torch.cat([features, torch.full((30, 1), 7.0)], dim=1)
    fit = logistic_regression(features, labels, torch.ones(30), num_classes=4, l2=0.1, field="x")
    assert (fit.weight[:, -1] == 0).all()
    assert set((features @ fit.weight.T + fit.bias).argmax(1).tolist()) <= {0, 1, 2}


def test_the_last_layer_alone_is_trained_and_goes_on_after_a_stop() -> None:
    def start() -> LastLayerTraining:
        sources: dict[str, TrainingImages] = {"a": Noise(12), "b": Noise(5, seed=1)}
        return LastLayerTraining(
            classifier(ONE_HEAD, dropout=0.5),
            sources,
            {"a": 1.0, "b": 1.0},
            l2=0.1,
            batch_size=5,
            precision="float32",
            field="imagenet_methods.mine",
        )

    whole_run, stopped, second = start(), start(), start()
    assert [record["images_seen"] for record in whole_run.records()] == [5, 10, 15, 17]
    assert whole_run.shares.sum() == pytest.approx(1)
    assert whole_run.shares[:12].sum() == pytest.approx(0.5)  # whatever their sizes
    records = stopped.records()
    next(records)
    next(records)
    second.load_state_dict(stopped.state_dict())
    assert len(list(second.records())) == 2
    assert same(whole_run.weights(), second.weights())
    before = classifier(ONE_HEAD).state_dict()
    changed = {name for name, tensor in whole_run.weights().items() if not torch.equal(tensor, before[name])}
    assert changed == {"ends.only.7.weight", "ends.only.7.bias"}
    with torch.no_grad():
        images = Noise(12)
        logits = whole_run.network.eval()(torch.stack([images.pixels(row, 0) for row in range(12)]))["only"]
    assert torch.equal(logits, whole_run.network.ends["only"](torch.cat(whole_run.features)[:12]))


def test_a_fit_that_does_not_converge_names_its_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgn.classifiers.last_layer._MAX_ITERATIONS", 1)
    features, labels = separable(30)
    with pytest.raises(
        InputError, match=r"imagenet_methods.mine.l2: found 1e-09, with which the fit has not converged"
    ):
        logistic_regression(features, labels, torch.ones(30), num_classes=3, l2=1e-9, field="imagenet_methods.mine")
