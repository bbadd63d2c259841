"""Build ImageNet-9: take photographs apart into objects and backgrounds, and put them together in all variants, as a shard set."""

import argparse
import csv
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from cgn.config import ImagenetNetworks, ImagenetScale, ImagesConfig, In9Config, load_params
from cgn.data.image_tables import PARTS, part_folder, read_table_of
from cgn.data.imagenet9 import MIXED, VARIANTS, Mix, plan_mixes
from cgn.data.imagenet_classes import IN9, coarse_labels
from cgn.data.in9_masks import Found, by_saliency, saliency_input
from cgn.data.in9_pictures import LeftOut, frame_of
from cgn.errors import InputError
from cgn.files import replacing_folder
from cgn.models.pretrained import load_network
from cgn.models.u2net import for_inference
from cgn.rng import stream
from cgn.shards.manifest import ShardEntry, write_tables
from cgn.shards.mixes import FG_MASK, LEFT_OUT
from stages.common import Argv, one_of, parser, run
from stages.devices import device
from stages.in9 import SEED, Cut, LookJob, Photograph, RenderJob, look, one_thread, render, squares
from stages.training import set_compute
from stages.workers import Workers, workers

log = logging.getLogger(__name__)

_PER_JOB = 16  # photographs that a process looks at before it reports
_SHOWN = 5  # images that an error names

Look = Callable[[Sequence[Photograph]], list[Found | LeftOut]]


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True)
    options.add_argument("--images", required=True, type=Path)
    options.add_argument("--weights", required=True, type=Path)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write every variant of both parts, and left_out.csv; the manifest comes last."""
    args = parse(argv)
    params = load_params(args.params)
    scale = one_of(params.imagenet_scales, args.scale, "--scale")
    set_compute(params.compute)
    build(
        args.out,
        images=args.images,
        weights=args.weights,
        scale=scale,
        num_workers=params.runtime.generate_workers,
    )


def build(out: Path, *, images: Path, weights: Path, scale: ImagenetScale, num_workers: int) -> None:
    """Write the shard set; as many processes as `num_workers` change no byte of it.

    Raises: InputError, naming the file, where images or masks cannot be used or too few are left.
    """
    with replacing_folder(out) as folder, workers(num_workers, one_thread) as work:
        look_at = _looker(work, images, weights, scale)
        entries, left_out = [], []
        parts = {part: _photographs(images, scale.images, part) for part in PARTS}
        _check_masks(parts, scale.in9)
        cuts_of: dict[str, list[Cut]] = {}
        # Both parts are looked at before the first picture is made, so that lacking annotations end this at once.
        for part, photographs in parts.items():
            results = find(photographs, scale.in9.max_per_class, look_at)
            cuts = [Cut(one, *found) for one, found in results.items() if isinstance(found, Found)]
            refused = [(one, found) for one, found in results.items() if isinstance(found, LeftOut)]
            reasons = Counter(found.why for _, found in refused)
            said = "".join(f"; left out {count}: {why}" for why, count in reasons.most_common())
            log.info("build_in9: %s of %d photographs, %d in use%s", part, len(photographs), len(cuts), said)
            _check_classes(part, cuts, refused)
            cuts_of[part] = cuts
            left_out += refused
        for part, cuts in cuts_of.items():
            entries += _rendered(work, folder, part, cuts, scale.in9)
        write_left_out(folder / LEFT_OUT, left_out)
        write_tables(folder, entries)


def find(photographs: Sequence[Photograph], at_most: int | None, look_at: Look) -> dict[Photograph, Found | LeftOut]:
    """What is found in photographs, in their order: in all, or class by class in a drawn order until `at_most` have an object."""
    waiting = {label: [one for one in photographs if one.label == label] for label in range(len(IN9))}
    if at_most is None:
        return dict(zip(photographs, look_at(photographs), strict=True))
    for label, members in waiting.items():
        part = members[0].part if members else ""
        order = torch.randperm(len(members), generator=stream(SEED, "max_per_class", part, label)).tolist()
        waiting[label] = [members[place] for place in order]
    results: dict[Photograph, Found | LeftOut] = {}
    lacking = dict.fromkeys(waiting, at_most)
    while chosen := [one for label, members in waiting.items() for one in members[: lacking[label]]]:
        for label, members in waiting.items():
            waiting[label] = members[lacking[label] :]
        for one, found in zip(chosen, look_at(chosen), strict=True):
            results[one] = found
            lacking[one.label] -= isinstance(found, Found)
    return {one: results[one] for one in photographs if one in results}


def plan(part: str, cuts: Sequence[Cut]) -> dict[str, list[Mix]]:
    """Of every variant that mixes, whose object stands before whose background."""
    labels = torch.tensor([cut.photograph.label for cut in cuts])
    return {variant: plan_mixes(labels, variant, stream(SEED, "in9", part, variant)) for variant in MIXED}


def write_left_out(path: Path, left_out: Sequence[tuple[Photograph, LeftOut]]) -> None:
    """A table of the images that were looked at and not used, with reasons."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["part", "file", "why", "found"])
        table.writerows((one.part, one.file, found.why, found.found) for one, found in left_out)


def _photographs(images: Path, config: ImagesConfig, part: str) -> list[Photograph]:
    """Those of ImageNet-9's classes."""
    labels = coarse_labels(IN9).tolist()
    folder = part_folder(images, config, part)
    columns = (read_table_of(images, part)[name].to_pylist() for name in ("file", "stem", "class", "sha256"))
    return [
        Photograph(part, folder, file, stem, labels[number], number, digest)
        for file, stem, number, digest in zip(*columns, strict=True)
        if labels[number] >= 0
    ]


def _check_masks(parts: Mapping[str, Sequence[Photograph]], config: In9Config) -> None:
    """Raises: InputError where a photograph of either part would get the same file of masks or boxes."""
    if config.masks_from is None or any((Path(config.masks_from) / part).is_dir() for part in PARTS):
        return
    files = [{Path(one.file).with_suffix("") for one in photographs} for photographs in parts.values()]
    if shared := sorted(set.intersection(*files)):
        raise InputError(
            f"{config.masks_from}: found one folder for {' and '.join(PARTS)}, which both have a photograph {shared[0]}, expected a folder "
            f"each, {' and '.join(str(Path(config.masks_from) / part) for part in PARTS)}"
        )


def _check_classes(part: str, cuts: Sequence[Cut], refused: Sequence[tuple[Photograph, LeftOut]]) -> None:
    """Raises: InputError where a class has less than two images, with some that were left out and why."""
    counts = Counter(cut.photograph.label for cut in cuts)
    few = [label for label in range(len(IN9)) if counts[label] < 2]
    if not few:
        return
    names = list(IN9)
    found = ", ".join(f"{counts[label]} of {names[label]}" for label in few)
    reasons = [f"{one.file} ({left.why}: {left.found})" for one, left in refused if one.label in few]
    more = f" and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    said = f"; left out: {', '.join(reasons[:_SHOWN])}{more}" if reasons else ""
    raise InputError(
        f"ImageNet-9's {part}: found {found}, expected two images or more of each class that can be used{said}"
    )


def _looker(work: Workers, images: Path, weights: Path, scale: ImagenetScale) -> Look:
    """How objects are found: by files beside images, in many processes, or by the saliency network in this one."""
    config = scale.in9
    of_salience = _salience(weights, scale.networks, config.size_px) if config.masks == "saliency" else None

    def look_at(photographs: Sequence[Photograph]) -> list[Found | LeftOut]:
        jobs = []
        for first in range(0, len(photographs), _PER_JOB):
            some = photographs[first : first + _PER_JOB]
            drawn = images / "masks" / some[0].part if scale.images.source == "drawn" else None
            where = "train" if scale.images.val_share is not None else some[0].part  # a share lies among the others
            folder = drawn if config.masks_from is None else _of_part(Path(config.masks_from), where)
            jobs.append(LookJob(some, config.masks, folder, config.size_px))
        what = f"build_in9: looking at portions of {_PER_JOB} photographs"
        if of_salience is None:
            return [found for some in work(look, jobs, what) for found in some]
        return [
            one if isinstance(one, LeftOut) else of_salience(one) for some in work(squares, jobs, what) for one in some
        ]

    return look_at


def _of_part(folder: Path, part: str) -> Path:
    """Where a part's masks or boxes are: in a folder called after it, where there is one."""
    return folder / part if (folder / part).is_dir() else folder


def _salience(weights: Path, networks: ImagenetNetworks, size_px: int) -> Callable[[np.ndarray], Found | LeftOut]:
    """How an object is found in a square of an image by the network that fetch_weights wrote.

    Raises: InputError where that is missing, damaged or another one.
    """
    network = for_inference(load_network("saliency", weights, networks)).to(device())
    frame = frame_of(size_px, size_px, size_px)

    @torch.no_grad()
    def found(square: np.ndarray) -> Found | LeftOut:
        return by_saliency(network(saliency_input(torch.from_numpy(square)).to(device())).cpu(), frame)

    return found


def _rendered(work: Workers, folder: Path, part: str, cuts: Sequence[Cut], config: In9Config) -> list[ShardEntry]:
    """What the shards of a part add to the tables, ordered by variant."""
    plans = plan(part, cuts)
    jobs = [
        RenderJob(
            folder=folder,
            part=part,
            shard_index=index,
            first_index=first,
            foregrounds=cuts[first : first + config.images_per_shard],
            backgrounds={
                variant: [cuts[mix.background] for mix in mixes[first : first + config.images_per_shard]]
                for variant, mixes in plans.items()
            },
            size_px=config.size_px,
            mix_by=config.mix_by,
            jpeg_quality=config.jpeg_quality,
        )
        for index, first in enumerate(range(0, len(cuts), config.images_per_shard))
    ]
    shards = list(work(render, jobs, f"build_in9: rendering shards of {part}"))
    return [shard[variant] for variant in (*VARIANTS, FG_MASK) for shard in shards]


if __name__ == "__main__":
    run(main)
