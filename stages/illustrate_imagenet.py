"""Draw pictures of one CGN for natural images: layers, interpolations, walks, transformations, failures, and their index."""

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cgn.checkpoints import load_checkpoint
from cgn.config import load_params
from cgn.contracts import Pixels
from cgn.files import replacing_folder, write_json
from cgn.generators.films import save_gif, save_mp4
from cgn.generators.imagenet_pictures import Illustrator, class_name
from cgn.generators.imagenet_sheets import FAILURE_CLASSES
from stages.common import Argv, one_of, parser, run
from stages.devices import enough_memory
from stages.imagenet import load_cgn
from stages.training import set_compute

log = logging.getLogger(__name__)


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True)
    options.add_argument("--seed", required=True, type=int)
    options.add_argument("--weights", required=True, type=Path)
    options.add_argument("--checkpoint", required=True, type=Path)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write the pictures, and index.json, which lists every file with its kind, its classes and what it shows."""
    args = parse(argv)
    params = load_params(args.params)
    scale = one_of(params.imagenet_scales, args.scale, "--scale")
    set_compute(params.compute)
    cgn, checkpoint = load_cgn(args.checkpoint, args.weights, scale.networks, seed=args.seed)
    illustrator = Illustrator(cgn, scale.illustrate, params.compute.precision, args.seed)
    source = load_checkpoint(args.weights / "biggan.safetensors", kind="weights").config["source"]
    log.info("illustrate_imagenet: a CGN trained from %s weights", source)
    memory = enough_memory(f"imagenet_scales.{args.scale}.illustrate.micro_batch", scale.illustrate.micro_batch)
    with memory, replacing_folder(args.out) as folder:
        pictures = [picture._asdict() for kind in _KINDS for picture in kind(illustrator, folder)]
        about = {
            "biggan": source,  # "random": pictures show that the road works and nothing else
            "trained_for_steps": checkpoint.config["train"]["num_steps"],
            "size_px": scale.networks.size_px,
            "truncation": scale.illustrate.truncation,
        }
        write_json(folder / "index.json", {**about, "pictures": pictures})
    log.info("illustrate_imagenet: %d pictures", len(pictures))


class Picture(NamedTuple):
    """A line of the index."""

    file: str  # from the index's folder on
    kind: str
    part: str  # of several with the same kind and classes
    classes: list[int]
    caption: str


def _layers(illustrator: Illustrator, folder: Path) -> Iterator[Picture]:
    for classes in illustrator.config.layers:
        for name, image in illustrator.layers(classes).items():
            path = _path(folder, "layers", classes, f"{name}.png")
            image.save(path)
            yield Picture(_name(path, folder), "layer", name, classes, f"{name}: {_in_words(classes)}")


def _interpolations(illustrator: Illustrator, folder: Path) -> Iterator[Picture]:
    for classes in illustrator.config.interpolations.pairs:
        path = _path(folder, "interpolations", classes, "sheet.png")
        illustrator.interpolation(*classes).save(path)
        start, end = map(class_name, classes)
        yield Picture(_name(path, folder), "interpolation", "sheet", classes, f"from {start} to {end}")


def _walks(illustrator: Illustrator, folder: Path) -> Iterator[Picture]:
    for classes in illustrator.config.films.classes:
        for name, frames in illustrator.walks(classes).items():
            for path in _films(illustrator, frames, _path(folder, "walks", classes, name)):
                caption = f"the noise of {name} moves: {_in_words(classes)}"
                yield Picture(_name(path, folder), "walk", name, classes, caption)


def _transformations(illustrator: Illustrator, folder: Path) -> Iterator[Picture]:
    for classes in illustrator.config.transformations:
        first, texture, background, shape = map(class_name, classes)
        caption = f"{first}, then the texture of {texture}, the background of {background}, the shape of {shape}"
        strip, frames = illustrator.transformation(classes)
        path = _path(folder, "transformations", classes, "strip.png")
        strip.save(path)
        yield Picture(_name(path, folder), "transformation", "strip", classes, caption)
        for film in _films(illustrator, frames, path.with_name("film")):
            yield Picture(_name(film, folder), "transformation", "film", classes, caption)


def _failures(illustrator: Illustrator, folder: Path) -> Iterator[Picture]:
    classes = list(FAILURE_CLASSES.values())
    (folder / "failures").mkdir()
    for number, sheet in enumerate(illustrator.failures(), start=1):
        path = folder / "failures" / f"draw-{number}.png"
        sheet.save(path)
        yield Picture(_name(path, folder), "failures", path.stem, classes, "classes that are known to fail")


_KINDS = (_layers, _interpolations, _walks, _transformations, _failures)


def _in_words(classes: list[int]) -> str:
    """The classes of a counterfactual."""
    shape, texture, background = map(class_name, classes)
    return f"shape of {shape}, texture of {texture}, background of {background}"


def _films(illustrator: Illustrator, frames: Pixels, path: Path) -> list[Path]:
    """Frames as GIF and as MP4, of which the first plays everywhere and the second has all colours."""
    gif, mp4 = path.with_suffix(".gif"), path.with_suffix(".mp4")
    rate = illustrator.config.films.frames_per_second
    save_gif(gif, frames, frames_per_second=rate)
    save_mp4(mp4, frames, frames_per_second=rate)
    return [gif, mp4]


def _path(folder: Path, kind: str, classes: list[int], name: str) -> Path:
    """Where a picture goes: its classes name a folder, which is made."""
    path = folder / kind / "-".join(map(str, classes)) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


if __name__ == "__main__":
    run(main)
