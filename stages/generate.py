"""Write one generator's counterfactuals as a shard set."""

import argparse
import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from cgn.checkpoints import FILE_NAME
from cgn.config import Precision, load_params
from cgn.contracts import Factors, Pixels
from cgn.files import replacing_folder
from cgn.generators.colours import PlainColours
from cgn.generators.counterfactuals import Originals, counterfactuals
from cgn.shards import Batch, ShardEntry, write_shard, write_tables
from stages.common import Argv, one_of, parser, run
from stages.generators import kept_of, load_generator
from stages.training import set_compute

log = logging.getLogger(__name__)


class Job(NamedTuple):
    """Everything that one shard depends on, and where it goes."""

    checkpoint: Path
    folder: Path
    name: str
    dataset: str
    shard_index: int
    first_index: int
    num_images: int
    originals: tuple[np.ndarray, np.ndarray] | None  # pixels and labels; tensors would travel through shared memory
    colours: tuple[list[np.ndarray], ...] | None  # of foregrounds and backgrounds
    cf_ratio: int
    precision: Precision
    seed: int


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--scale", required=True)
    options.add_argument("--dataset", required=True)
    options.add_argument("--generator", required=True)
    options.add_argument("--seed", required=True, type=int)
    options.add_argument("--real", required=True, type=Path)
    options.add_argument("--checkpoint", required=True, type=Path)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def shard_jobs(
    checkpoint: Path,
    folder: Path,
    *,
    real: Path,
    name: str,
    dataset: str,
    sizes: Sequence[int],
    cf_ratio: int,
    precision: Precision,
    seed: int,
) -> list[Job]:
    """A job per shard of so many images, with what these keep of the training images in `real`.

    Raises: InputError as `load_generator` and `kept_of` do.
    """
    generator, config = load_generator(checkpoint, dataset=dataset, seed=seed)
    originals, colours = kept_of(
        real,
        generator,
        config,
        dataset=dataset,
        parts=sizes,
        cf_ratio=cf_ratio,
        precision=precision,
        seed=seed,
    )
    layers = colours and tuple([part.numpy() for part in layer] for layer in colours)
    return [
        Job(
            checkpoint=checkpoint,
            folder=folder,
            name=name,
            dataset=dataset,
            shard_index=index,
            first_index=sum(sizes[:index]),
            num_images=size,
            originals=(some.pixels.numpy(), some.labels.numpy()) if some else None,
            colours=layers,
            cf_ratio=cf_ratio,
            precision=precision,
            seed=seed,
        )
        for index, (size, some) in enumerate(zip(sizes, originals, strict=True))
    ]


def end_with(parent: int) -> None:
    """End this worker soon after its parent process is gone, however that died: no orphan writes on."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def draw_shard(job: Job) -> tuple[Pixels, Factors]:
    """One shard's images and labels, on one thread, so that they do not depend on how many are made side by side."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    generator, config = load_generator(job.checkpoint, dataset=job.dataset, seed=job.seed)
    return counterfactuals(
        generator,
        job.num_images,
        originals=Originals(*map(torch.from_numpy, job.originals)) if job.originals else None,
        colours=PlainColours(*(tuple(map(torch.from_numpy, layer)) for layer in job.colours)) if job.colours else None,
        cf_ratio=job.cf_ratio,
        hard_masks=job.dataset in config.hard_masks,
        precision=job.precision,
        seed=job.seed,
        shard_index=job.shard_index,
    )


def make_shard(job: Job) -> ShardEntry:
    """Draw one shard and write it."""
    pixels, factors = draw_shard(job)
    batch = Batch(pixels, factors.shape, factors, low_contrast=None)
    return write_shard(
        job.folder,
        name=job.name,
        split="generated",
        shard_index=job.shard_index,
        first_index=job.first_index,
        batch=batch,
        seed=job.seed,
    )


def main(argv: Argv = None) -> None:
    """Write the shard set; the manifest comes last."""
    args = parse(argv)
    params = load_params(args.params)
    one_of(params.generator, args.generator, "--generator")
    config = one_of(params.scales, args.scale, "--scale").generate
    path = args.checkpoint / FILE_NAME
    starts = range(0, config.num_images, config.images_per_shard)
    sizes = [min(config.images_per_shard, config.num_images - first) for first in starts]
    set_compute(params.compute)
    with replacing_folder(args.out) as folder:
        jobs = shard_jobs(
            path,
            folder,
            real=args.real,
            name=f"{args.dataset}-{args.generator}",
            dataset=args.dataset,
            sizes=sizes,
            cf_ratio=config.cf_ratio,
            precision=params.compute.precision,
            seed=args.seed,
        )
        workers = min(params.runtime.generate_workers, len(jobs))
        log.info("generate: %d images in %d shards, %d at a time", config.num_images, len(jobs), workers)
        if workers == 1:
            entries = [make_shard(job) for job in jobs]
        else:
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(workers, mp_context=spawn, initializer=end_with, initargs=(os.getpid(),)) as pool:
                entries = list(pool.map(make_shard, jobs))
        write_tables(folder, entries)


if __name__ == "__main__":
    run(main)
