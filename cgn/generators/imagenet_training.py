"""How the CGN for natural images is trained: no images are read, a frozen conditional generator is the teacher."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cgn.config import ImagenetCgnConfig, ImagenetTrainBudget, Precision
from cgn.contracts import Factors, Images
from cgn.errors import InputError
from cgn.generators.imagenet_cgn import (
    MECHANISMS,
    REFINER,
    ConditionalGenerator,
    ImagenetCgn,
    ImagenetLayers,
    PerMechanism,
    micro_batches,
    rows_of,
)
from cgn.losses.mask import binary_entropy, binary_share, saliency, size_hinge
from cgn.losses.perceptual import num_weighted_stages, perceptual_distance
from cgn.losses.texture import patch_grid
from cgn.models.vgg import NUM_STAGES, VggFeatures
from cgn.ranks import ALONE, Ranks
from cgn.rng import stream
from cgn.training import Record


class ImagenetRun(NamedTuple):
    """What a training run is told beside its recipe and its networks."""

    budget: ImagenetTrainBudget
    precision: Precision
    seed: int
    ranks: Ranks = ALONE


class TrainingStoppedError(InputError):
    """A run that must not go on as it is; raised by all processes that train together, after the same step."""


class ImagenetCgnTraining:
    """A training run, to be stepped, looked at, stored and continued: `cgn.training.Training`.

    An optimiser step takes the mean gradient over `effective_batch` images, `micro_batch` at a time: how many at a time
    changes memory and speed, and the result by rounding alone, because noise and classes are drawn for the whole batch and
    patches from a stream per image. So it is with several processes, of which each takes its rows of the batch.
    The networks are trained where they lie, on a CPU or a GPU.

    # Differs from the authors' code: gradients are averaged and not summed over the batch, which Adam divides out, with
    # an epsilon that is smaller by as much; weights' spectral norms take one power iteration per step and not per image.
    Source: Sauer & Geiger 2021, section 3.2 and appendix B, and their repository counterfactual_generative_networks.
    """

    def __init__(
        self, config: ImagenetCgnConfig, cgn: ImagenetCgn, teacher: nn.Module, vgg: VggFeatures, run: ImagenetRun
    ) -> None:
        """`teacher` is a `ConditionalGenerator`; from here on it is frozen.

        Raises: InputError where more processes train together than a step has images.
        """
        self.config, self.budget, self.cgn, self.vgg = config, run.budget, cgn, vgg
        self.num_steps = run.budget.num_steps
        self.effective_batch = run.budget.effective_batch or config.effective_batch
        self.precision, self.address, self.ranks = run.precision, (run.seed, "imagenet_cgn"), run.ranks
        if self.ranks.num > self.effective_batch:
            raise InputError(
                f"num_processes: found {self.ranks.num}, expected at most the {self.effective_batch} images of a step"
            )
        teacher.eval().requires_grad_(False)
        for network in (cgn, teacher, vgg):  # in bfloat16 convolutions are faster so
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.teacher: ConditionalGenerator = teacher  # type: ignore[assignment]
        self.teacher.refresh()
        self.step = 0
        self.images_seen = 0
        self.steps_outside = 0  # for how many steps the mean mask has been out of the recipe's limits
        rates = {"shape": config.shape_lr, "texture": config.texture_lr, "background": config.background_lr}
        if config.refiner is not None:
            rates[REFINER] = config.refiner.lr
        self.optimizers = {
            name: torch.optim.Adam(part.parameters(), lr=rates[name], eps=1e-8 / self.effective_batch)
            for name, part in cgn.trained.items()
        }
        for name in MECHANISMS:
            cgn.mechanism(name).recompute = run.budget.recompute
        if run.budget.compile:
            for network in (*cgn.trained.values(), cgn.saliency, teacher, vgg):
                network.compile()
        self.averaged = {name: tensor.clone() for name, tensor in cgn.trained.state_dict().items()}

    def records(self) -> Iterator[Record]:
        """Train on, yielding step, images_seen, losses and statistics of the mask, each a mean over the step's images, and the
        gradient's norm.

        Raises: TrainingStoppedError where a loss or the gradient is not finite, before a step is taken, and where masks have
        collapsed; InputError where a GPU's memory does not suffice.
        """
        if not self.ranks.all_have(self.step, self._device()):
            raise InputError("found processes that train together from different steps; run it again")
        self._check_masks()
        while self.step < self.num_steps:
            try:
                numbers = self._optimizer_step()
            except torch.OutOfMemoryError as error:  # a GPU's; what the system does without memory for CPUs is its own
                raise InputError(self._out_of_memory()) from error
            self.step += 1
            self.images_seen += self.effective_batch
            self._watch_masks(numbers["mask_mean"])
            yield {"step": self.step, "images_seen": self.images_seen, **numbers}
            self._check_masks()

    def _watch_masks(self, mask_mean: float) -> None:
        limits = self.config.collapse_stop
        if limits is None or self.step <= limits.after_share * self.num_steps:
            return
        inside = limits.mask_mean[0] <= mask_mean <= limits.mask_mean[1]
        self.steps_outside = 0 if inside else self.steps_outside + 1

    def _limits(self) -> dict[str, Any] | None:
        """Between which masks have to stay, as a state keeps it: other limits begin to count anew."""
        limits = self.config.collapse_stop
        return None if limits is None else limits.model_dump()

    def _check_masks(self) -> None:
        limits = self.config.collapse_stop
        if limits is not None and self.steps_outside >= limits.for_steps:
            low, high = limits.mask_mean
            raise TrainingStoppedError(
                f"step {self.step}: the masks have collapsed: for {self.steps_outside} steps their mean has not been within "
                f"{low} and {high}, the recipe's collapse_stop; change the recipe's weights or rates, or set it to null to go on"
            )

    def losses(
        self, noise: PerMechanism, labels: Factors, rngs: Sequence[torch.Generator]
    ) -> tuple[ImagenetLayers, dict[str, Tensor]]:
        """The layers of a batch and every loss with its weight, each a mean over the batch; `rngs` draw patches, one per image.

        Networks compute in the run's precision, losses in float32.
        """
        config = self.config
        with self._autocast(noise.shape.device):
            with torch.no_grad():
                target = self.teacher(noise.shape, self.teacher.embed(labels.shape), self.cgn.truncation).float()
            layers = ImagenetLayers(*(part.float() for part in self.cgn(noise, labels)))
            still_salient = self.cgn.saliency(layers.background)
        composite = layers.composite
        terms = {
            "l1": config.lambda_l1 * F.l1_loss(composite, target),
            "perceptual": self._features_distance(composite, target, config.content_weights, config.style_weights),
            "binary": config.lambda_binary * binary_entropy(layers.mask),
            "size": config.lambda_size * size_hinge(layers.mask, low=config.size_range[0], high=config.size_range[1]),
            "texture": self._texture(layers, composite if config.patches_from == "composite" else target, rngs),
            "background": config.lambda_background * saliency(still_salient.float()),
        }
        return layers, terms

    def _autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def _optimizer_step(self) -> dict[str, float]:
        """One step of all optimisers; returns what is recorded of it."""
        size = self.effective_batch
        rng = stream(*self.address, "step", self.step)
        mine = self.ranks.rows(size)
        noise, labels = rows_of(*self.cgn.draw_training_inputs(size, rng), slice(mine.start, mine.stop))
        rngs = (stream(*self.address, "patches", self.step, row) for row in mine)
        self.cgn.train()
        self.cgn.refresh(iterate=True)
        sums: dict[str, Tensor] = {}
        for some_noise, some_labels in micro_batches(noise, labels, self.budget.micro_batch, self._device()):
            num = len(some_labels.shape)
            share = num / size
            layers, terms = self.losses(some_noise, some_labels, list(itertools.islice(rngs, num)))
            (torch.stack(list(terms.values())).sum() * share).backward()
            for name, value in {**terms, **_statistics(layers)}.items():
                sums[name] = sums.get(name, 0) + value.detach() * share
        self.cgn.pull_back()
        gradients = [part.grad for part in self.cgn.trained.parameters() if part.grad is not None]
        self.ranks.add_up([*gradients, *sums.values()])
        sums["gradient_norm"] = torch.nn.utils.get_total_norm(gradients)
        numbers = {name: value.item() for name, value in sums.items()}
        for name, number in numbers.items():
            if not abs(number) < float("inf"):
                raise TrainingStoppedError(
                    f"step {self.step + 1}: found {name} {number}, expected a finite number; lower the recipe's learning "
                    "rates or set compute.precision to float32, with which training starts anew"
                )
        for optimizer in self.optimizers.values():
            optimizer.step()
            optimizer.zero_grad()
        self._average()
        self.cgn.refresh()  # so that whoever looks at the step's record sees its weights
        return numbers

    def _device(self) -> torch.device:
        return next(self.cgn.parameters()).device

    def _texture(self, layers: ImagenetLayers, source: Images, rngs: Sequence[torch.Generator]) -> Tensor:
        """Foregrounds against a grid of patches from where an image has its object."""
        grid = patch_grid(source, layers.mask, rngs, **self.config.patches.model_dump())
        return self._features_distance(layers.foreground, grid, [0.0] * NUM_STAGES, self.config.texture_weights)

    def _features_distance(self, found: Images, target: Images, content: list[float], style: list[float]) -> Tensor:
        """The perceptual distance; stages behind the last one with a weight are not computed."""
        num_stages = num_weighted_stages(content, style)
        if num_stages == 0:
            return found.new_zeros(())
        with self._autocast(found.device):
            with torch.no_grad():
                wanted = self.vgg(target, num_stages)
            shown = self.vgg(found, num_stages)
        return perceptual_distance(shown, wanted, content=content[:num_stages], style=style[:num_stages])

    def _average(self) -> None:
        """Move the averaged parameters towards the present ones; buffers follow at once."""
        parameters = dict(self.cgn.trained.named_parameters())
        for name, tensor in self.cgn.trained.state_dict().items():
            if name in parameters:
                self.averaged[name].lerp_(tensor, 1 - self.config.ema_decay)
            else:
                self.averaged[name].copy_(tensor)

    def _out_of_memory(self) -> str:
        size = self.budget.micro_batch
        if size == 1:
            what = "set recompute to true" if not self.budget.recompute else "take a smaller size_px or another device"
            return f"micro_batch: found 1, for which the device has too little memory; {what}"
        return f"micro_batch: found {size}, for which the device has too little memory, expected less; try {size // 2}"

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        return {
            "step": self.step,
            "images_seen": self.images_seen,
            "steps_outside": self.steps_outside,
            "limits": self._limits(),
            "trained": dict(self.cgn.trained.state_dict()),
            "averaged": self.averaged,
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from an earlier state."""
        self.step, self.images_seen = state["step"], state["images_seen"]
        self.steps_outside = state["steps_outside"] if state["limits"] == self._limits() else 0
        self.cgn.trained.load_state_dict(state["trained"])
        for name, tensor in self.averaged.items():
            tensor.copy_(state["averaged"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])

    def weights(self) -> dict[str, Tensor]:
        """The averaged weights, in main memory: what the checkpoint holds."""
        return {name: tensor.cpu() for name, tensor in self.averaged.items()}


def _statistics(layers: ImagenetLayers) -> dict[str, Tensor]:
    """What is watched beside the losses: the mean mask, and the share of its pixels within 0.1 of 0 or 1."""
    mask = layers.mask.detach()
    return {"mask_mean": mask.mean(), "mask_binary_share": binary_share(mask, within=0.1)}
