"""The one training loop of all classifiers."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cgn.classifiers import METHODS, Setting, TrainingBatch
from cgn.classifiers.edges import begin_with_edges, weights_of
from cgn.classifiers.prediction import predict
from cgn.composer import to_images
from cgn.config import ClassifierBudget, MethodConfig, Precision, SplitName
from cgn.contracts import Labels, Pixels
from cgn.errors import InputError
from cgn.models.classifiers import Cnn
from cgn.rng import stream
from cgn.training import Record, seeded

_LOG_EVERY_STEPS = 50
_WARM_UP = 0.05  # share of the steps
_STATES = 20  # of a run, among which a split selects


class Source(NamedTuple):
    """One set of training images: all that a classifier may see of it."""

    pixels: Pixels
    labels: Labels


class ClassifierTraining:
    """Trains a `Cnn` on a weighted mix of sources, without augmentation.

    What first layers answer to areas of one colour begins at zero and learns at `plain_area_lr_share` of the rate; where that is
    1, they are layers as any other. So do those of classifiers that a rule trains beside: LfF compares two that differ in their
    loss alone. Every source has its exact share of the images; within a source images come in shuffled
    epochs without replacement.
    """

    _stateful = ("network", "method", "optimizer")

    def __init__(
        self,
        config: MethodConfig,
        sources: Mapping[SplitName, Source],
        budget: ClassifierBudget,
        *,
        precision: Precision,
        seed: int,
        plain_area_lr_share: float,
        selection: Source | None = None,
    ) -> None:
        mix = config.mix
        if set(sources) != set(mix):
            raise InputError(f"mix: found weights for {sorted(mix)}, expected them for {sorted(sources)}")
        if (selection is None) != (config.select is None):
            found = "no images" if selection is None else f"{len(selection.labels)} images"
            raise InputError(f"select: found {config.select!r} and {found} to select by, expected both or neither")
        self.budget = budget
        self.precision: Precision = precision
        self.autocast = precision == "bfloat16"
        self.selection = selection
        self.selected: dict[str, Tensor] = {}
        self.selected_accuracy = -1.0
        self.pixels = torch.cat([sources[name].pixels for name in mix])
        self.labels = torch.cat([sources[name].labels for name in mix])
        self.num_sources = len(mix)
        self.num_steps = -(-config.times * budget.num_images // budget.batch_size)
        self.step = 0
        self.order, self.source_of = draw_order(
            {name: len(sources[name].labels) for name in mix}, mix, self.num_steps * budget.batch_size, seed
        )
        self.network = seeded(stream(seed, "classifier", "init").initial_seed(), Cnn)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        setting = Setting(num_sources=len(mix), num_images=len(self.labels))
        self.method = seeded(
            stream(seed, "classifier", "method").initial_seed(), lambda: METHODS[config.rule](config, setting)
        )
        self.method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        classifiers = [part for part in (self.network, *self.method.modules()) if isinstance(part, Cnn)]
        slow = [] if plain_area_lr_share == 1 else [weight for each in classifiers for weight in begin_with_edges(each)]
        known = {id(weight) for weight in slow}
        weights = [*self.network.parameters(), *self.method.parameters()]
        groups = [{"params": [weight for weight in weights if id(weight) not in known], "lr_share": 1.0}]
        if slow:
            groups.append({"params": slow, "lr_share": plain_area_lr_share})
        self.optimizer = torch.optim.AdamW(groups, lr=budget.lr, weight_decay=0.0, fused=True)

    def records(self) -> Iterator[Record]:
        """Train on, yielding step, images_seen, the mean loss since the last record, and lr."""
        size = self.budget.batch_size
        losses: list[float] = []
        self.network.train()
        self.method.train()
        while self.step < self.num_steps:
            part = slice(self.step * size, (self.step + 1) * size)
            rows = self.order[part]
            images = to_images(self.pixels[rows]).contiguous(memory_format=torch.channels_last)
            lr = self.budget.lr * schedule(self.step, self.num_steps)
            for group in self.optimizer.param_groups:
                group["lr"] = lr * group["lr_share"]
            with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
                batch = TrainingBatch(images, self.labels[rows], self.source_of[part], rows)
                loss = self.method.loss(self.network, batch, self.step / self.num_steps)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
            self.step += 1
            if self.selection and (self.step == self.num_steps or self.step % -(-self.num_steps // _STATES) == 0):
                self._select(self.selection)
            if self.step % _LOG_EVERY_STEPS == 0 or self.step == self.num_steps:
                mean = sum(losses) / len(losses)
                if not mean < float("inf"):
                    raise InputError(f"step {self.step}: the loss is {mean}; lower scales.<scale>.classifier.lr")
                yield {"step": self.step, "images_seen": self.step * size, "loss": mean, "lr": lr}
                losses = []

    def _select(self, selection: Source) -> None:
        """Keep a copy of the weights where their accuracy is the highest so far; of equal ones the first."""
        predicted, _ = predict(self.network, selection.pixels, precision=self.precision)
        self.network.train()
        accuracy = (predicted == selection.labels).float().mean().item()
        if accuracy > self.selected_accuracy:
            self.selected_accuracy = accuracy
            self.selected = {name: tensor.clone() for name, tensor in weights_of(self.network).items()}

    def state_dict(self) -> dict[str, Any]:
        """Step, weights, what the rule remembers, and optimiser; the order of the images follows from the seed."""
        return {
            "step": self.step,
            "selected": self.selected,
            "selected_accuracy": self.selected_accuracy,
            **{name: getattr(self, name).state_dict() for name in self._stateful},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from an earlier state."""
        self.step, self.selected, self.selected_accuracy = (
            state[name] for name in ("step", "selected", "selected_accuracy")
        )
        for name in self._stateful:
            getattr(self, name).load_state_dict(state[name])

    def weights(self) -> dict[str, Tensor]:
        """The network's weights: the selected ones where a split selects, else the last."""
        weights: dict[str, Tensor] = self.selected if self.selection else weights_of(self.network)
        return weights

    def shares(self) -> dict[str, int]:
        """How many images of every source, in the mix's order, the whole run sees."""
        return {
            str(source): int(count)
            for source, count in enumerate(torch.bincount(self.source_of, minlength=self.num_sources).tolist())
        }


def schedule(step: int, num_steps: int) -> float:
    """The learning rate's factor: rising over the first twentieth of the steps, falling as half a cosine to zero.

    # Differs from the paper: Adadelta with decay 0.7 per epoch needs about three times the images on Wildlife.
    """
    warm_up = min(1.0, (step + 1) / max(1.0, _WARM_UP * num_steps))
    return warm_up * 0.5 * (1 + math.cos(math.pi * step / num_steps))


def draw_order(
    sizes: Mapping[SplitName, int], mix: Mapping[SplitName, float], num_images: int, seed: int
) -> tuple[Tensor, Tensor]:
    """For every image to be seen, its row in the concatenated sources and its source's number; both int64 (num_images,).

    Every source has its share to within one image, in random order.
    """
    weights = torch.tensor([mix[name] for name in sizes], dtype=torch.float64)
    ends = (weights.cumsum(0) / weights.sum() * num_images).round().long()
    source = torch.bucketize(torch.randperm(num_images, generator=stream(seed, "classifier", "mix")), ends, right=True)
    order = torch.full((num_images,), -1)
    first = 0
    for number, (name, size) in enumerate(sizes.items()):
        drawn = source == number
        count = int(drawn.sum())
        epochs = [
            torch.randperm(size, generator=stream(seed, "classifier", name, epoch))
            for epoch in range(-(-count // size))
        ]
        if epochs:
            order[drawn] = torch.cat(epochs)[:count] + first
        first += size
    return order, source
