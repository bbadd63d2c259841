"""Images per second of counterfactual generation: whole, and its network and composition alone, in the same processes.

Needs the checkpoint of a finished training and the real images. Usage: python -m benchmarks.generation [--checkpoint
FOLDER] [--real FOLDER]
"""

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

from benchmarks.common import DATASET, prepare, report, seconds, summary
from cgn.checkpoints import FILE_NAME
from stages.generate import Job, draw_shard, make_shard, shard_jobs


def main() -> None:
    """Measure both by turns in one pool of workers and print the ratio of their medians."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--checkpoint", type=Path, default=Path(f"data/checkpoints/demo/{DATASET}/cgn/0"))
    options.add_argument("--real", type=Path, default=Path(f"data/shards/demo/{DATASET}/real"))
    options.add_argument("--images", type=int, default=40_000)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--repeats", type=int, default=3)
    args = options.parse_args()
    params = prepare()
    sizes = [args.images // (2 * args.workers)] * (2 * args.workers)
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(args.workers, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        jobs = shard_jobs(
            args.checkpoint / FILE_NAME,
            Path(folder),
            real=args.real,
            name="benchmark",
            dataset=DATASET,
            sizes=sizes,
            cf_ratio=1,
            precision=params.compute.precision,
            seed=0,
        )
        list(pool.map(make_shard, jobs))  # warm up: imports, kernels
        work: dict[str, Callable[[Job], object]] = {"network_and_composition": _draw, "with_png_and_tar": make_shard}
        rates: dict[str, list[float]] = {name: [] for name in work}
        for _ in range(args.repeats):
            for name, function in work.items():
                rates[name].append(sum(sizes) / _seconds(pool, function, jobs))
    speeds = {name: summary(values) for name, values in rates.items()}
    alone, whole = speeds["network_and_composition"]["median"], speeds["with_png_and_tar"]["median"]
    report(
        "generation",
        images_per_second=speeds,
        ratio=round(whole / alone, 2),
        share_of_time={"network_and_composition": round(whole / alone, 2), "png_and_tar": round(1 - whole / alone, 2)},
        workers=args.workers,
        checkpoint=args.checkpoint.as_posix(),
    )


def _seconds(pool: Executor, function: Callable[[Job], object], jobs: Sequence[Job]) -> float:
    return seconds(lambda: list(pool.map(function, jobs)))


def _draw(job: Job) -> int:
    return len(draw_shard(job)[0])  # the images stay in the worker, as they do when it writes them


if __name__ == "__main__":
    main()
