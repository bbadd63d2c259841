"""What every generator for MNIST and every training run of one has in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from cgn.composer import compose, to_images
from cgn.config import DatasetName, GeneratorConfig, Precision
from cgn.contracts import Factors, Images, Labels, Masks, Pixels
from cgn.errors import InputError
from cgn.generators.collapse import MaskStatistics, mask_statistics
from cgn.mnist import NUM_CLASSES
from cgn.rng import stream
from cgn.training import Record, seeded

_LOG_EVERY_STEPS = 50
STATISTICS_PER_CLASS = 20
_Network = TypeVar("_Network", bound=nn.Module)


class Noise(NamedTuple):
    """The exogenous noise of every mechanism: (batch, numbers) each, and where textures begin, int64 (batch, 2)."""

    shape: Tensor
    texture: Tensor
    background: Tensor
    texture_shift: Tensor
    background_shift: Tensor


class Layers(NamedTuple):
    """What the mechanisms make."""

    mask: Masks
    foreground: Images
    background: Images

    @property
    def composite(self) -> Images:
        """The image."""
        return compose(self.mask, self.foreground, self.background)


class Generator(nn.Module, ABC):
    """What makes images as layers: a CGN has shape, texture and background mechanisms, each with a label of its own."""

    has_mechanisms: ClassVar[bool] = True  # if not, an image has one label, and no counterfactual can be asked for
    infers_masks: ClassVar[bool] = False  # whether it can also say which mask a given image was composed with

    @abstractmethod
    def forward(self, noise: Noise, factors: Factors) -> Layers:
        """Mask, foreground and background of every image. With three equal labels: what the training set shows."""

    def infer_masks(self, images: Images, labels: Labels) -> Masks:
        """The masks of training images, in (0, 1): what a counterfactual of such an image keeps.

        In Pearl's words abduction: from an image to the part of its noise that made its shape.
        Raises: NotImplementedError where the generator does not infer masks.
        """
        raise NotImplementedError(f"{type(self).__name__} does not infer masks")

    def dress(self, masks: Masks, noise: Noise, factors: Factors) -> Layers:
        """The layers of images with given masks; their textures and backgrounds as `forward` makes them.

        Raises: NotImplementedError where the generator does not infer masks.
        """
        raise NotImplementedError(f"{type(self).__name__} does not infer masks")

    @abstractmethod
    def draw_noise(self, batch: int, rng: torch.Generator) -> Noise:
        """Noise for a batch, independent between the mechanisms."""

    def factor_grid(self, rng: torch.Generator) -> Images:
        """A hundred images, row by row: a shape per column, its label and noise, and a texture per row, on one background.

        A generator without mechanisms has a label per column and a noise per row.
        """
        rows, columns = torch.cartesian_prod(*[torch.arange(NUM_CLASSES)] * 2).unbind(1)
        noise = self.draw_noise(NUM_CLASSES, rng)
        first = torch.zeros_like(rows)
        if not self.has_mechanisms:
            layers: Layers = self(Noise(*(part[rows] for part in noise)), Factors(columns, columns, columns))
            return layers.composite
        owners = Noise(columns, rows, first, rows, first)
        chosen = Noise(*(part[owner] for part, owner in zip(noise, owners, strict=True)))
        layers = self(chosen, Factors(columns, rows, first))
        return layers.composite

    def draw_training_noise(self, batch: int, rng: torch.Generator) -> Noise:
        """Noise as training draws it: by default the same as for samples."""
        return self.draw_noise(batch, rng)


def lr_factor(step: int, num_steps: int, *, constant_steps: float) -> float:
    """What learning rates are multiplied by: 1 for `constant_steps`, then falling linearly to zero at the run's end."""
    return min(1.0, (num_steps - step) / max(1.0, num_steps - constant_steps))


class Run(NamedTuple):
    """What a training run is told beside its recipe and its images."""

    dataset: DatasetName
    num_images: int  # the scale's budget
    precision: Precision
    seed: int
    attempt: int


class GeneratorTraining(ABC):
    """A training run of a generator, to be stepped, looked at, stored and continued: `cgn.training.Training`.

    A recipe adds its networks and optimisers, names them in `_stateful`, and says what a step does.
    """

    _stateful: ClassVar[tuple[str, ...]]

    def __init__(
        self, config: GeneratorConfig, pixels: Pixels, labels: Labels, run: Run, *, name: str, num_steps: int
    ) -> None:
        self.config, self.pixels, self.labels, self.num_steps = config, pixels, labels, num_steps
        self.step = 0
        self.images_seen = 0
        self.address = (run.seed, name, "attempt", run.attempt)
        self.rng = stream(*self.address, "steps")
        # Fixed for sheets and statistics: all classes in turn.
        self.fixed_labels = torch.arange(NUM_CLASSES).repeat(STATISTICS_PER_CLASS)
        self._fixed_noise: Noise | None = None

    @property
    @abstractmethod
    def shown(self) -> Generator:
        """The generator whose weights count: it is what the checkpoint holds, and what is looked at."""

    @abstractmethod
    def _next_rows(self) -> Tensor:
        """The rows of the next batch, int64 (batch,)."""

    @abstractmethod
    def _train_step(self, images: Images, labels: Labels) -> dict[str, Tensor]:
        """Take one step and return its losses, each a scalar."""

    def _new(self, name: str, build: Callable[[], _Network]) -> _Network:
        """A network whose initial weights depend on the run's address and the network's name alone."""
        return seeded(stream(*self.address, name).initial_seed(), build)

    def records(self) -> Iterator[Record]:
        """Train on, yielding step, images_seen, losses and the mask's statistics.

        Raises: InputError where a loss is not finite: the run cannot recover.
        """
        every = min(_LOG_EVERY_STEPS, self.config.sheet_every_steps)
        while self.step < self.num_steps:
            rows = self._next_rows()
            losses = self._train_step(to_images(self.pixels[rows]), self.labels[rows])
            self.step += 1
            self.images_seen += len(rows)
            if self.step % every == 0 or self.step == self.num_steps:
                numbers = _finite_numbers(losses, step=self.step)
                statistics = self.statistics()._asdict()
                yield {"step": self.step, "images_seen": self.images_seen, **numbers, **statistics}

    @torch.inference_mode()
    def fixed_layers(self) -> Layers:
        """What the generator makes of the fixed noise, classes 0 to 9 in turn."""
        if self._fixed_noise is None:
            rng = stream(*self.address, "fixed")
            self._fixed_noise = self.shown.draw_training_noise(len(self.fixed_labels), rng)
        self.shown.eval()
        return Layers(*self.shown(self._fixed_noise, Factors(*[self.fixed_labels] * 3)))

    def statistics(self) -> MaskStatistics:
        """The mask's statistics over the fixed noise."""
        return mask_statistics(self.fixed_layers().mask, self.fixed_labels)

    def counterfactual_statistics(self) -> MaskStatistics:
        """The statistics of masks as counterfactuals have them: those over the fixed noise, unless a recipe has others."""
        return self.statistics()

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        return {
            "step": self.step,
            "images_seen": self.images_seen,
            "rng": self.rng.get_state(),
            **{name: getattr(self, name).state_dict() for name in self._stateful},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from an earlier state."""
        self.step, self.images_seen = state["step"], state["images_seen"]
        self.rng.set_state(state["rng"])
        for name in self._stateful:
            getattr(self, name).load_state_dict(state[name])

    def weights(self) -> dict[str, Tensor]:
        """The weights that count."""
        return dict(self.shown.state_dict())


def _finite_numbers(losses: Mapping[str, Tensor], *, step: int) -> dict[str, float]:
    numbers = {name: loss.item() for name, loss in losses.items()}
    for name, value in numbers.items():
        if not abs(value) < float("inf"):
            raise InputError(f"step {step}: found {name} {value}, expected a finite number; lower the generator's lr")
    return numbers
