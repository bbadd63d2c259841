"""Explain the classifiers of one data set: where they look, and what their features tell apart."""

import argparse
import logging
from pathlib import Path
from typing import Any, get_args

import torch

from cgn.checkpoints import FILE_NAME, check_origin, load_checkpoint, load_into
from cgn.classifiers.prediction import features, predict
from cgn.composer import to_images, to_pixels
from cgn.config import DatasetName, load_params
from cgn.data.digit_masks import digit_masks
from cgn.data.sources import read_digits
from cgn.errors import InputError
from cgn.evaluation import attribution, figures, tables
from cgn.files import replacing_folder, write_json
from cgn.mnist import NUM_CLASSES
from cgn.models.classifiers import Cnn
from cgn.shards import check_name, read_split
from stages.common import Argv, one_of, parser, run
from stages.training import set_compute

log = logging.getLogger(__name__)

_NUM_IMAGES = {
    "integrated_gradients": 100,
    "grad_cam": 1000,
    "lime": 10,
}  # whose attributions are measured; LIME is the slowest
_NUM_FEATURES = 1000  # images whose features are compared
_NUM_DOTS = 300  # of them that are drawn


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--dataset", required=True, choices=get_args(DatasetName))
    options.add_argument("--raw", required=True, type=Path)
    options.add_argument("--real", required=True, type=Path)
    options.add_argument("--checkpoints", required=True, type=Path)
    options.add_argument("--out", required=True, type=Path)
    options.add_argument("--metrics", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write the shares as JSON and two picture sheets, over the classifiers that params.yaml lists, first seed."""
    args = parse(argv)
    params = load_params(args.params)
    seed = params.seeds[0]
    check_name(args.real, args.dataset)
    set_compute(params.compute)
    test = read_split(args.real, "test")
    config = one_of(dict(params.datasets), args.dataset, "--dataset")
    masks, digit_labels = digit_masks(read_digits(args.raw, "test"), config)
    if not torch.equal(digit_labels, test.labels):
        raise InputError(f"{args.real}: its test images are not those of the digits in {args.raw}; run `dvc repro`")
    objects = masks[:, :1].float() / 255
    nothing = attribution.BLACK if (test.factors.background < 0).all() else attribution.GREY
    first = [
        int((test.labels == label).nonzero()[0]) for label in range(NUM_CLASSES)
    ]  # one image per class, drawn first
    rows = torch.tensor(first + [row for row in range(len(test.labels)) if row not in first])[
        : max(_NUM_IMAGES.values())
    ]
    images = to_images(test.pixels[rows])
    results: dict[str, Any] = {
        "num_images": {name: min(number, len(rows)) for name, number in _NUM_IMAGES.items()},
        "digit_area": objects[rows].mean().item(),
        "classifiers": {},
    }
    names, tiles, panels = ["test image"], [test.pixels[first]], []
    for experiment in tables.experiments(params):
        log.info("explain: %s of %s", experiment.name, args.dataset)
        path = args.checkpoints / experiment.name / str(seed) / FILE_NAME
        checkpoint = load_checkpoint(path, kind="classifier")
        check_origin(checkpoint, path, dataset=args.dataset, seed=seed)
        network = Cnn()
        load_into(network, checkpoint.tensors, path)
        classes = predict(network, test.pixels[rows], precision="float32")[0].clone()  # no longer of inference mode
        shares, errors = {}, {}
        for name, explain in attribution.EXPLAINERS.items():
            some = slice(0, _NUM_IMAGES[name])
            maps = explain(network, images[some], classes[some], nothing)
            shares[name], errors[name] = attribution.share_on(maps, objects[rows][some])
            names.append(f"{experiment.label}: {name.replace('_', ' ')}")
            tiles.append(_heat(maps[:NUM_CLASSES]))
        seen = features(network, test.pixels[:_NUM_FEATURES])
        told = {name: labels[:_NUM_FEATURES] for name, labels in test.factors._asdict().items() if (labels >= 0).all()}
        results["classifiers"][experiment.name] = {
            "digit_share": shares,
            "digit_share_error": errors,
            "variance_by": {name: attribution.variance_share(seen, labels) for name, labels in told.items()},
        }
        places = attribution.principal_components(seen)[:_NUM_DOTS].numpy()
        panels.append((experiment.label, places, {name: labels[:_NUM_DOTS] for name, labels in told.items()}))
    with replacing_folder(args.out) as folder:
        figures.save_image(folder / "saliency.png", figures.draw_pixels(torch.stack(tiles), row_names=names))
        figures.save_figure(folder / "features.png", figures.draw_features(panels))
    write_json(args.metrics, results)


def _heat(maps: attribution.Maps) -> torch.Tensor:
    """Maps as grey images: black is nothing, white each image's largest value."""
    largest = maps.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)
    return to_pixels((2 * maps / largest - 1).expand(-1, 3, -1, -1))


if __name__ == "__main__":
    run(main)
