"""The Inception Score of a training on its way: a number for the log and for curves, which no result depends on."""

import logging
import tempfile
from pathlib import Path

import torch

from cgn.config import WatchConfig, WeightsConfig
from cgn.errors import InputError, one_line
from cgn.evaluation.image_quality import inception_score
from cgn.generators.imagenet_training import ImagenetCgnTraining
from cgn.models.inception import Inception
from cgn.models.judges import fetch_inception, load_inception
from cgn.rng import stream
from stages.devices import device
from stages.imagenet_judging import composites

log = logging.getLogger(__name__)


class InceptionWatch:
    """Inception Score of the composites of a training's weights as they are, always of the same noise and classes."""

    def __init__(self, config: WatchConfig, inception: Inception) -> None:
        self.config, self.inception = config, inception.to(device())

    @torch.no_grad()
    def score(self, training: ImagenetCgnTraining) -> float | None:
        """The score after this step, of all images together; None after steps that are not its turn."""
        if training.step % self.config.every_steps:
            return None
        try:
            return self._score(training)
        except torch.OutOfMemoryError:
            log.warning("step %d: no Inception Score, for which the device has too little memory", training.step)
            return None

    def _score(self, training: ImagenetCgnTraining) -> float:
        noise, labels = training.cgn.draw_training_inputs(self.config.num_images, stream(0, "inception_watch"))
        seen = composites(
            training.cgn, noise, labels, micro_batch=training.budget.micro_batch, precision=training.precision
        )
        found = inception_score(torch.cat([self.inception(pixels).probabilities.cpu() for pixels in seen]), 1).mean
        log.info("step %d: Inception Score %.2f of %d composites", training.step, found, self.config.num_images)
        return found


def inception_watch(config: WatchConfig, weights: WeightsConfig) -> InceptionWatch | None:
    """What watches a training, or None where it is not to be watched or Inception cannot be had, of which the log says why.

    The weights are read where they are given, and not where fetch_judges writes them: another judge trains nothing anew.
    """
    if config.every_steps == 0 or weights.source == "none":
        return None
    with tempfile.TemporaryDirectory() as folder:
        try:
            fetch_inception(weights, Path(folder))
            judge = load_inception(Path(folder))
        except (InputError, OSError) as error:
            log.warning("no Inception Score will be shown: %s", one_line(str(error)))
            return None
    return None if judge is None else InceptionWatch(config, judge.network)
