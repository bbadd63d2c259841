"""Which mechanism holds a data set back? Classifiers learn from counterfactuals of which one part or another is replaced: by the
truth, and by what the networks draw with nothing kept of a training image.

A diagnosis: what it knows of true outlines and textures serves no training, selection or number of the pipeline. `pipeline` are the
counterfactuals that classifiers are given; `drawn_alone` are drawn by the networks from noise and labels; `learned_colours` keep a
training image's shape, but not the colours of plain layers; `true_masks` wear the outlines of the training digits,
`true_textures` the data set's own textures or colours, `all_true` both. Every classifier takes the same steps, with no real image beside.
Needs the finished stages `build_dataset` and `train_generator`.
Usage: python -m benchmarks.replaced_mechanisms [--scale full] [--dataset wildlife] [--only pipeline true_masks]
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from benchmarks.common import checkpoint_of, load_inferring_generator, options_of_a_generator, prepare, report
from cgn.classifiers.fit import Source
from cgn.composer import to_images
from cgn.config import ColoredConfig, DatasetConfig
from cgn.contracts import Factors, Images, Labels, Masks, Pixels
from cgn.data import DATASETS, NO_TEXTURES
from cgn.data.double_colored_mnist import binary_masks
from cgn.data.sources import read_digits
from cgn.data.texture_files import read_textures
from cgn.data.types import Digits, Textures
from cgn.files import sha256
from cgn.generators import Generator
from cgn.generators.base import Layers, Noise
from cgn.generators.colours import plain_colours
from cgn.generators.counterfactuals import Originals, counterfactuals, draw_originals, num_shapes
from cgn.mnist import IMAGE_PX
from cgn.rng import stream
from cgn.shards import read_split
from stages.cells import accuracy_after
from stages.training import Scratch

TrueLayers = Callable[[Factors], tuple[Images, Images]]  # labels -> objects and backgrounds without a digit


class Variant(NamedTuple):
    """Where the parts of a counterfactual come from."""

    keeps_shape: bool = True  # of a training image
    keeps_colours: bool = True  # of plain layers of training images
    true_masks: bool = False
    true_textures: bool = False


VARIANTS = {
    "pipeline": Variant(),
    "drawn_alone": Variant(keeps_shape=False, keeps_colours=False),
    "learned_colours": Variant(keeps_colours=False),
    "true_masks": Variant(true_masks=True),
    "true_textures": Variant(keeps_colours=False, true_textures=True),
    "all_true": Variant(keeps_colours=False, true_masks=True, true_textures=True),
}


class Replaced(Generator):
    """A trained generator of which the truth stands in for the masks, which then are given as images, or for the layers."""

    def __init__(self, trained: Generator, *, masks_are_given: bool, layers: TrueLayers | None) -> None:
        super().__init__()
        self.trained, self.masks_are_given, self.layers = trained, masks_are_given, layers

    def forward(self, noise: Noise, factors: Factors) -> Layers:
        """As the trained generator draws them."""
        layers: Layers = self.trained(noise, factors)
        return layers

    def draw_noise(self, batch: int, rng: torch.Generator) -> Noise:
        """The trained generator's."""
        return self.trained.draw_noise(batch, rng)

    def infer_masks(self, images: Images, labels: Labels) -> Masks:
        """The images themselves where they are masks, white on the object; else what the trained generator infers."""
        return images[:, :1].add(1).div(2) if self.masks_are_given else self.trained.infer_masks(images, labels)

    def dress(self, masks: Masks, noise: Noise, factors: Factors) -> Layers:
        """True layers, or those of the trained generator."""
        return Layers(masks, *self.layers(factors)) if self.layers else self.trained.dress(masks, noise, factors)


def true_masks(digits: Digits, config: DatasetConfig) -> Pixels:
    """Each digit as the data set composes it, 255 where the object alone shows, on all three channels."""
    if isinstance(config, ColoredConfig):
        masks = F.interpolate(digits[:, None].float(), size=IMAGE_PX, mode="nearest-exact")
    else:
        masks = binary_masks(digits, config.binarize_above).mul(255)
    return masks.to(torch.uint8).expand(-1, 3, -1, -1)


def true_layers(dataset: str, config: DatasetConfig, textures: Textures, rng: torch.Generator) -> TrueLayers:
    """The data set's own images of a digit that covers everything, and of one that covers nothing."""

    def layers(factors: Factors) -> tuple[Images, Images]:
        drawn = []
        for ink in (255, 0):
            digits = torch.full((len(factors.shape), 28, 28), ink, dtype=torch.uint8)
            drawn.append(to_images(DATASETS[dataset].make_images(digits, factors, config, rng, textures)))
        return drawn[0], drawn[1]

    return layers


def images_of(
    variant: Variant,
    trained: Generator,
    *,
    train: tuple[Pixels, Labels],
    masks: Pixels,
    layers: TrueLayers,
    parts: list[int],
    cf_ratio: int,
    **how: Any,
) -> Source:
    """Counterfactuals as the pipeline makes them of biased images, shard after shard, with their shapes' labels."""
    pixels, labels = train
    colours = plain_colours(trained, pixels, labels, precision=how["precision"]) if variant.keeps_colours else None
    originals: list[Originals | None] = [None] * len(parts)
    if variant.keeps_shape:
        counts = [num_shapes(part, cf_ratio) for part in parts]
        shown = masks if variant.true_masks else pixels
        rows = draw_originals(len(labels), sum(counts), seed=how["seed"]).split(counts)
        originals = [Originals(shown[some], labels[some]) for some in rows]
    generator = Replaced(
        trained, masks_are_given=variant.true_masks, layers=layers if variant.true_textures else None
    ).eval()
    made = [
        counterfactuals(generator, part, originals=some, colours=colours, cf_ratio=cf_ratio, shard_index=index, **how)
        for index, (part, some) in enumerate(zip(parts, originals, strict=True))
    ]
    return Source(torch.cat([images for images, _ in made]), torch.cat([factors.shape for _, factors in made]))


def main() -> None:
    """Train once per variant and print the test accuracies."""
    options = options_of_a_generator(__doc__)
    options.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    args = options.parse_args()
    params = prepare()
    precision = params.compute.precision
    real = Path("data/shards") / args.scale / args.dataset / "real"
    raw = Path("data/raw") / args.scale
    path = checkpoint_of(args)
    generator, recipe = load_inferring_generator(path, dataset=args.dataset, seed=args.seed)
    config = getattr(params.datasets, args.dataset)
    digits = read_digits(raw, "train")
    pixels, labels = read_split(real, "train")[:2]
    if not torch.equal(digits.labels, labels):
        raise ValueError(f"{real}: found other training images than {raw} has digits; run `dvc repro build_dataset`")
    textures = read_textures(raw / "textures") if DATASETS[args.dataset].textured else NO_TEXTURES
    scale = params.scales[args.scale]
    size, num_images = scale.generate.images_per_shard, scale.generate.num_images
    share = params.classifier.plain_area_lr_share[args.dataset]
    percent = {}
    for name in args.only:
        made = images_of(
            VARIANTS[name],
            generator,
            train=(pixels, labels),
            masks=true_masks(digits.images, config),
            layers=true_layers(args.dataset, config, textures, stream(args.seed, "replaced", name)),
            parts=[min(size, num_images - first) for first in range(0, num_images, size)],
            cf_ratio=scale.generate.cf_ratio,
            hard_masks=args.dataset in recipe.hard_masks,
            precision=precision,
            seed=args.seed,
        )
        inputs = {"benchmark": "replaced_mechanisms", "variant": name, "generator": sha256(path), **vars(args)}
        scratch = Scratch(Path(params.runtime.scratch), inputs)
        accuracy = accuracy_after(
            made,
            real=real,
            real_share=0.0,
            scale=scale,
            precision=precision,
            seed=args.seed,
            plain_area_lr_share=share,
            scratch=scratch,
        )
        scratch.clear()
        percent[name] = {test_set: round(100 * value, 2) for test_set, value in accuracy.items()}
        sys.stderr.write(f"replaced_mechanisms: {name} {percent[name]}\n")
    report("replaced_mechanisms", accuracy_percent=percent, **vars(args))


if __name__ == "__main__":
    main()
