"""The training loop of classifiers of natural images."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from cgn.classifiers.ensemble import factor_losses, num_known, real_loss
from cgn.classifiers.imagenet_order import ImageOrder, Place
from cgn.classifiers.imagenet_sources import Classes, TrainingImages
from cgn.config import Precision, TrainingRecipe
from cgn.contracts import Pixels
from cgn.errors import InputError
from cgn.models.ensemble import THREE_HEADS, HeadedClassifier
from cgn.ranks import ALONE, Ranks
from cgn.rng import stream
from cgn.training import Record

_LOG_EVERY_STEPS = 10
_COUNTERFACTUAL = "counterfactuals"
_BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)


class FitSetting(NamedTuple):
    """How a training goes, beside what it is trained on."""

    recipe: TrainingRecipe
    precision: Precision
    seed: int
    num_epochs: int  # the recipe's, or the scale's in their place
    batch_size: int  # likewise
    num_workers: int = 0  # processes that decode; 0: this one does
    ranks: Ranks = ALONE
    field: str = "imagenet_training.<recipe>"  # of params.yaml, for messages


class StepImages(NamedTuple):
    """One process's images of a step, real ones before counterfactuals, with the classes of the whole step's."""

    pixels: Pixels
    classes: Classes
    num_real: int


class _Steps(Dataset[StepImages | InputError]):
    """What is shown in which step; errors are handed over, since a process that decodes would wrap them."""

    def __init__(
        self, sources: list[TrainingImages], orders: Mapping[str, ImageOrder], ends: "_Ends", ranks: Ranks
    ) -> None:
        self.sources, self.orders, self.ends, self.ranks = sources, orders, ends, ranks

    def places(self, step: int) -> tuple[list[Place], int]:
        """The images of a step, real ones first, and how many these are."""
        real, *rest = (order.places(*self.ends.of(name, step)) for name, order in self.orders.items())
        shift = len(self.sources) - 1  # counterfactuals are the last source
        other = [place._replace(source=shift) for places in rest for place in places]
        return [*real, *other], len(real)

    def __getitem__(self, step: int) -> StepImages | InputError:
        places, num_real = self.places(step)
        mine = _rows(self.ranks, num_real, len(places))
        try:
            classes = torch.tensor([self.sources[one.source].labels(one.row, one.passes) for one in places])
            pixels = [self.sources[one.source].pixels(one.row, one.passes) for one in (places[row] for row in mine)]
        except InputError as error:
            return error
        # Stacked with channels innermost, as they are decoded and as convolutions like them.
        return StepImages(
            torch.stack([image.permute(1, 2, 0) for image in pixels]).permute(0, 3, 1, 2), classes, num_real
        )


def _rows(ranks: Ranks, num_real: int, num: int) -> list[int]:
    """A process's rows of a step: its part of the real images, and its part of the counterfactuals behind them."""
    return [*ranks.rows(num_real), *(num_real + row for row in ranks.rows(num - num_real))]


class _Ends(NamedTuple):
    """How many images come before a step."""

    batch_size: int
    cf_ratio: float

    def of(self, name: str, step: int) -> tuple[int, int]:
        """The numbers of the first image of a step and of the first after it; counterfactuals have their exact share over steps."""
        each = self.batch_size * (self.cf_ratio if name == _COUNTERFACTUAL else 1)
        start, stop = (math.floor(number * each + 1e-9) for number in (step, step + 1))
        return start, stop


class ImagenetTraining:
    """Trains a classifier of one head or three: `cgn.training.Training`.

    A step has `batch_size` real images, which train the averaged logits, and `cf_ratio` times as many counterfactuals, of which each
    head learns its own factor; all go through the network at once, so batch normalisation sees both. An epoch has as many real
    images as the sources together, in whole steps; each source has its exact share of them. What is drawn of an image follows
    from the seed, the image and the pass, so neither processes that decode nor a stop in between change a byte. Several
    processes that train together take their rows of a step: without frozen batch normalisation it is synchronised, which needs
    GPUs, and dropout draws others than one process does.

    Source: Sauer & Geiger 2021, section 4.2 and appendix C.5.
    """

    def __init__(
        self,
        network: HeadedClassifier,
        sources: Mapping[str, TrainingImages],
        weights: Mapping[str, float],
        setting: FitSetting,
        *,
        counterfactuals: TrainingImages | None = None,
        cf_ratio: float = 1.0,
    ) -> None:
        """`weights` are of the real sources, by their names. The network is trained where it lies.

        Raises: InputError where heads and counterfactuals do not go together, a source has no images, or processes cannot share steps.
        """
        if (network.heads == THREE_HEADS) != (counterfactuals is not None):
            found = "no counterfactuals" if counterfactuals is None else "counterfactuals"
            raise InputError(
                f"heads: found {', '.join(network.heads)} and {found}, expected three heads with them or one without"
            )
        recipe, ranks = setting.recipe, setting.ranks
        if ranks.num > setting.batch_size:
            raise InputError(
                f"num_processes: found {ranks.num}, expected at most the {setting.batch_size} real images of a step"
            )
        self.network, self.setting, self.ranks = network, setting, ranks
        sizes = {name: len(images) for name, images in sources.items()}
        self.steps_per_epoch = -(-sum(sizes.values()) // setting.batch_size)
        block = self.steps_per_epoch * setting.batch_size  # an epoch
        seed = setting.seed
        orders = {"real": ImageOrder(sizes, weights, block=block, seed=seed, name="real")}
        if counterfactuals is not None:
            count = {_COUNTERFACTUAL: len(counterfactuals)}
            orders[_COUNTERFACTUAL] = ImageOrder(
                count, {_COUNTERFACTUAL: 1.0}, block=max(1, len(counterfactuals)), seed=seed, name=_COUNTERFACTUAL
            )
        everything = [*sources.values(), *([] if counterfactuals is None else [counterfactuals])]
        self.steps = _Steps(everything, orders, _Ends(setting.batch_size, cf_ratio), ranks)
        self.num_steps = setting.num_epochs * self.steps_per_epoch
        self.step = 0
        self.images_seen = 0
        self._synchronise()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            fused=True,
        )

    def lr(self, step: int) -> float:
        """The rate of a step. Milestones are the recipe's epochs, moved along where another number of epochs stands in their place."""
        recipe = self.setting.recipe
        passed = sum(step >= milestone / recipe.num_epochs * self.num_steps for milestone in recipe.lr_milestones)
        return recipe.lr * recipe.lr_factor**passed

    def records(self) -> Iterator[Record]:
        """Train on, yielding step, epoch, images_seen, mean losses since the last record (of a factor NaN where no image was to be told
        by it), and lr.

        Raises: InputError where an image cannot be read, a loss is not finite, or a GPU's memory does not suffice.
        """
        if not self.ranks.all_have(self.step, self._device()):
            raise InputError("found processes that train together from different steps; run it again")
        sums: dict[str, Tensor] = {}
        nums: dict[str, int] = {}
        for images in self._images():
            if isinstance(images, InputError):
                raise images
            try:
                losses, known = self._optimizer_step(images)
            except torch.OutOfMemoryError as error:  # a GPU's; what the system does without memory for CPUs is its own
                raise InputError(
                    f"imagenet_scales.<scale>.classifier.batch_size: found {self.setting.batch_size}, for which the device has too little "
                    "memory, expected less"
                ) from error
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0) + loss.detach() * known[name]
                nums[name] = nums.get(name, 0) + known[name]
            self.step += 1
            self.images_seen += len(images.classes)
            if self.step % _LOG_EVERY_STEPS == 0 or self.step == self.num_steps:
                means = self._means(sums, nums)
                epoch = -(-self.step // self.steps_per_epoch)
                counts = {"step": self.step, "epoch": epoch, "images_seen": self.images_seen}
                yield {**counts, **means, "lr": self.lr(self.step - 1)}
                sums, nums = {}, {}

    def _means(self, sums: dict[str, Tensor], nums: dict[str, int]) -> dict[str, float]:
        """The mean losses over all processes' images."""
        self.ranks.add_up(sums.values())
        means = {name: value.item() / nums[name] if nums[name] else math.nan for name, value in sums.items()}
        for name, mean in means.items():
            if nums[name] and not mean < float("inf"):
                raise InputError(
                    f"step {self.step}: found {name} {mean}, expected a finite number; lower {self.setting.field}.lr, or set "
                    "compute.precision to float32"
                )
        return means

    def _images(self) -> Iterator[StepImages | InputError]:
        """What is shown from the present step on."""
        numbers = range(self.step, self.num_steps)
        if self.setting.num_workers == 0:
            yield from (self.steps[step] for step in numbers)
            return
        yield from DataLoader(
            self.steps,
            batch_size=None,
            sampler=numbers,
            num_workers=min(self.setting.num_workers, max(1, len(numbers))),
            pin_memory=self._device().type == "cuda",
            generator=torch.Generator(),  # draws nothing that is used, and the global one stays as it is
        )

    def _optimizer_step(self, images: StepImages) -> tuple[dict[str, Tensor], dict[str, int]]:
        """One step; returns this process's part of the losses, and of how many images of the whole step each is the mean."""
        setting, device = self.setting, self._device()
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr(self.step)
        self._train_mode()
        num_real = len(self.ranks.rows(images.num_real))
        pixels = images.pixels.to(device, non_blocking=True)
        classes = images.classes[_rows(self.ranks, images.num_real, len(images.classes))].to(device, non_blocking=True)
        cuda = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):
            torch.manual_seed(stream(setting.seed, "dropout", self.step, self.ranks.rank).initial_seed())
            with torch.autocast(device.type, torch.bfloat16, enabled=setting.precision == "bfloat16"):
                logits = self.network(pixels)
        known = {"real": images.num_real}
        losses = {
            "real": real_loss(
                {head: some[:num_real] for head, some in logits.items()}, classes[:num_real, 0], num=images.num_real
            )
        }
        if self.network.heads == THREE_HEADS:
            nums = num_known(images.classes[images.num_real :])
            known |= nums
            losses |= factor_losses(
                {head: some[num_real:] for head, some in logits.items()}, classes[num_real:], nums=nums
            )
        self.optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        self.ranks.add_up(part.grad for part in self.network.parameters() if part.grad is not None)
        self.optimizer.step()
        return losses, known

    def _train_mode(self) -> None:
        self.network.train()
        if self.setting.recipe.freeze_batch_norm:
            for layer in self.network.modules():
                if isinstance(layer, _BATCH_NORMS):
                    layer.eval()

    def _synchronise(self) -> None:
        """Let batch normalisation see the whole step's images, where several processes share them and it is not frozen."""
        if self.ranks.num == 1 or self.setting.recipe.freeze_batch_norm:
            return
        if not any(isinstance(layer, _BATCH_NORMS) for layer in self.network.modules()):
            return
        if self._device().type != "cuda":
            raise InputError(
                f"{self.setting.field}.freeze_batch_norm: found false with {self.ranks.num} processes on CPUs, expected true: batch "
                "normalisation over several processes needs GPUs; or set num_processes to 1"
            )
        self.network.trunk = nn.SyncBatchNorm.convert_sync_batchnorm(self.network.trunk)
        self.network.ends = nn.SyncBatchNorm.convert_sync_batchnorm(self.network.ends)

    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on: step, weights, optimiser."""
        return {
            "step": self.step,
            "images_seen": self.images_seen,
            "network": dict(self.network.state_dict()),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from an earlier state."""
        self.step, self.images_seen = state["step"], state["images_seen"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])

    def weights(self) -> dict[str, Tensor]:
        """The last weights."""
        return {name: tensor.cpu() for name, tensor in self.network.state_dict().items()}

    def shares(self) -> dict[str, int]:
        """How many images of every source the whole run shows, counterfactuals last."""
        found: dict[str, int] = {}
        for name, order in self.steps.orders.items():
            found |= order.counts_before(self.steps.ends.of(name, self.num_steps - 1)[1])
        return found
