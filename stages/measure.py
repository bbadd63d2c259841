"""Measure one generator's counterfactuals, by judges that know true factors; for the report alone."""

import argparse
import logging
from pathlib import Path
from typing import Any

import torch

from cgn.checkpoints import FILE_NAME, load_checkpoint, load_into
from cgn.classifiers.prediction import features, predict
from cgn.composer import compose, to_images, to_pixels, worn
from cgn.config import Precision, load_params
from cgn.contracts import Factors, Labels, Masks, Pixels
from cgn.data.digit_masks import digit_masks
from cgn.data.sources import read_digits
from cgn.errors import InputError
from cgn.evaluation import figures, quality
from cgn.evaluation.records import read_record
from cgn.files import replacing_folder, write_json
from cgn.generators import BetaVae, Generator
from cgn.generators.base import Noise
from cgn.mnist import NUM_CLASSES
from cgn.models.classifiers import Cnn
from cgn.rng import stream
from cgn.shards import check_name, read_split
from stages.common import Argv, one_of, parser, run
from stages.generators import counterfactuals_of, load_generator
from stages.training import set_compute

log = logging.getLogger(__name__)

_NUM_IMAGES = 2000
_BATCH = 500


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--dataset", required=True)
    options.add_argument("--seed", required=True, type=int)
    options.add_argument("--raw", required=True, type=Path)
    options.add_argument("--real", required=True, type=Path)
    options.add_argument("--judges", required=True, type=Path)
    options.add_argument("--checkpoint", required=True, type=Path)
    options.add_argument("--record", required=True, type=Path)
    options.add_argument("--out", required=True, type=Path)
    options.add_argument("--metrics", required=True, type=Path)
    return options.parse_args(argv)


class Images:
    """What a generator draws from noise and labels that are kept, so that one of them can be changed."""

    def __init__(self, generator: Generator, *, hard_masks: bool, precision: Precision) -> None:
        self.generator, self.hard_masks, self.precision = generator, hard_masks, precision

    @torch.inference_mode()
    def draw(self, noise: Noise, factors: Factors) -> tuple[Pixels, Masks]:
        """Images and their masks."""
        self.generator.eval()
        pixels, masks = [], []
        for rows in torch.arange(len(factors.shape)).split(_BATCH):
            with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
                layers = self.generator(Noise(*(part[rows] for part in noise)), Factors(*(p[rows] for p in factors)))
            mask = worn(layers.mask, hard=self.hard_masks)
            pixels.append(to_pixels(compose(mask, layers.foreground, layers.background)))
            masks.append(mask)
        return torch.cat(pixels), torch.cat(masks)


def main(argv: Argv = None) -> None:
    """Write the numbers as JSON, and two pictures: the factors in a grid, and the code where there is one."""
    args = parse(argv)
    params = load_params(args.params)
    precision = params.compute.precision
    check_name(args.real, args.dataset)
    set_compute(params.compute)
    path = args.checkpoint / FILE_NAME
    generator, config = load_generator(path, dataset=args.dataset, seed=args.seed)
    judges = _read_judges(args.judges)
    log.info("measure: %s of %s, judged by %s", config.recipe, args.dataset, ", ".join(judges))

    rng = stream(args.seed, "measure")
    shape = torch.arange(NUM_CLASSES).repeat(_NUM_IMAGES // NUM_CLASSES)
    others = torch.randint(0, NUM_CLASSES, (2, _NUM_IMAGES), generator=rng)
    factors = Factors(shape, *others) if generator.has_mechanisms else Factors(shape, shape, shape)
    noise = generator.draw_noise(_NUM_IMAGES, rng)
    images = Images(generator, hard_masks=args.dataset in config.hard_masks, precision=precision)
    pixels, masks = images.draw(noise, factors)

    test, unbiased = read_split(args.real, "test"), read_split(args.real, "unbiased")
    told = [name for name in Factors._fields if name in judges]
    shown, asked_for = counterfactuals_of(  # as classifiers see them
        generator,
        config,
        real=args.real,
        dataset=args.dataset,
        parts=[_NUM_IMAGES],
        cf_ratio=1,
        precision=precision,
        seed=args.seed,
    )
    seen = {name: predict(judges[name], shown, precision=precision)[0] for name in told}
    expected = features(judges["shape"], test.pixels)
    some = slice(0, _NUM_IMAGES)

    def read(pixels: Pixels, truth: Factors) -> dict[str, float]:
        """How often each judge reads real images right."""
        return {
            name: quality.effectiveness(predict(judges[name], pixels, precision=precision)[0], getattr(truth, name))
            for name in told
        }

    results: dict[str, Any] = {
        "num_images": _NUM_IMAGES,
        "attempts": read_record(args.record / "record.json")["attempts"],
        "judge_accuracy": read(test.pixels, test.factors),
        "unbiased": {
            "effectiveness": read(unbiased.pixels[some], Factors(*(labels[some] for labels in unbiased.factors))),
            "fid": quality.frechet_distance(features(judges["shape"], unbiased.pixels[some]), expected),
        },
        "effectiveness": {name: quality.effectiveness(seen[name], getattr(asked_for, name)) for name in told},
        "agreement": quality.effectiveness(seen["texture"], seen["shape"]),
        "composition": quality.composition(pixels, images.draw(noise, factors)[0]),
        "fid": quality.frechet_distance(features(judges["shape"], shown), expected),
    }
    if generator.has_mechanisms:
        one = one_of(dict(params.datasets), args.dataset, "--dataset")
        real, real_labels = digit_masks(read_digits(args.raw, "train"), one)
        results |= {
            "minimality": {name: _minimality(images, noise, factors, name) for name in told},
            **_shapes(masks, shape, real, real_labels, judges["mask"]),
        }
        if generator.infers_masks:
            results |= _inferred(generator, args.real, real, real_labels)
    with replacing_folder(args.out) as folder, torch.inference_mode():
        grid = to_pixels(generator.factor_grid(stream(args.seed, "factor_grid")))
        figures.save_image(folder / "factors.png", figures.draw_small(grid.unflatten(0, (NUM_CLASSES, -1))))
        if isinstance(generator, BetaVae):
            train = read_split(args.real, "train")
            codes = generator.encode(train.pixels[some].float().div(127.5).sub(1))[0]
            figures.save_figure(folder / "codes.png", figures.draw_codes(codes.numpy(), train.labels[some].tolist()))
    write_json(args.metrics, results)
    log.info("measure: effectiveness %s", results["effectiveness"])


def _read_judges(folder: Path) -> dict[str, Cnn]:
    judges = {}
    for path in sorted(folder.glob("*.safetensors")):
        judges[path.stem] = Cnn()
        load_into(judges[path.stem], load_checkpoint(path, kind="judge").tensors, path)
    return judges


def _minimality(images: Images, noise: Noise, factors: Factors, name: str) -> float:
    """Change one label to the next class, and see where the image changes."""
    before, masks = images.draw(noise, factors)
    changed = factors._replace(**{name: (getattr(factors, name) + 1) % NUM_CLASSES})
    after, after_masks = images.draw(noise, changed)
    is_object = masks > 0.5
    region = {"texture": is_object, "background": ~is_object, "shape": is_object | (after_masks > 0.5)}[name]
    return quality.minimality(before, after, region)


def _shapes(masks: Masks, labels: Labels, real: Pixels, real_labels: Labels, judge: Cnn) -> dict[str, Any]:
    drawn = (masks > 0.5).mul(255).to(torch.uint8).expand(-1, 3, -1, -1)
    found, expected = (features(judge, part) for part in (drawn, real[: 5 * _NUM_IMAGES]))
    overlap = quality.nearest_iou(masks, labels, real[:, :1].float() / 255, real_labels)
    return {
        "shape_fid": quality.frechet_distance(found, expected),
        "shape_diversity": quality.diversity(found, labels)
        / quality.diversity(expected, real_labels[: 5 * _NUM_IMAGES]),
        "mask_iou": sum(overlap) / len(overlap),
        "worst_mask_iou": min(overlap),
        "mask_iou_per_class": overlap,
    }


@torch.inference_mode()
def _inferred(generator: Generator, folder: Path, real: Pixels, real_labels: Labels) -> dict[str, Any]:
    """How well the masks inferred from training images cover those images' own digits."""
    train = read_split(folder, "train")
    masks = generator.infer_masks(to_images(train.pixels[:_NUM_IMAGES]), train.labels[:_NUM_IMAGES])
    truth, labels = real[:_NUM_IMAGES, :1].float() / 255, real_labels[:_NUM_IMAGES]
    if not torch.equal(labels, train.labels[:_NUM_IMAGES]):
        raise InputError(f"{folder}: found other training images than --raw has digits; run `dvc repro build_dataset`")
    overlap = quality.paired_iou(masks, labels, truth)
    return {"inferred_iou": sum(overlap) / len(overlap), "worst_inferred_iou": min(overlap)}


if __name__ == "__main__":
    run(main)
