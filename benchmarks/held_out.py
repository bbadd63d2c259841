"""Which value of a classifier's rates serves best, by what a user with biased images alone can see: counterfactuals of
held-out images.

Prints, beside each percentage, how much more it is than that of the first value, with that difference's standard error over digits.
Per value, a classifier learns from a generator's counterfactuals and is judged on counterfactuals of the validation images, which
are as biased as the training images and lend shapes and plain colours, each to five of them. Needs the finished stages
`build_dataset`, `train_generator` and `generate`.
Usage: python -m benchmarks.held_out [--scale full] [--dataset wildlife] [--field lr --values 0.001 0.003 0.01]
"""

from pathlib import Path

from torch import Tensor

from benchmarks.common import checkpoint_of, load_inferring_generator, options_of_a_generator, prepare, report
from cgn.classifiers.fit import ClassifierTraining, Source
from cgn.classifiers.prediction import predict
from cgn.config import ErmConfig, Params
from cgn.shards import read_split
from stages.generators import counterfactuals_of

_PER_ORIGINAL = 5


def main() -> None:
    """Train once per value and print the percentages of held-out counterfactuals that are read right."""
    options = options_of_a_generator(__doc__)
    options.add_argument("--field", default="plain_area_lr_share", choices=("plain_area_lr_share", "lr"))
    options.add_argument("--values", type=float, nargs="+", default=[1.0, 0.3, 0.1])
    args = options.parse_args()
    if args.field == "lr" and args.values == options.get_default("values"):
        options.error("--field lr: found no --values, expected learning rates")
    if not all(0 < value <= 1 for value in args.values):
        options.error(f"--values: found {args.values}, expected numbers above 0, up to 1")
    params = prepare()
    folder = Path("data/shards") / args.scale / args.dataset
    checkpoint = checkpoint_of(args)
    seen = read_split(folder / args.generator / str(args.seed), "generated")
    held_out = _held_out(folder / "real", checkpoint, params, args.dataset, args.seed)
    budget = params.scales[args.scale].classifier
    usual_share = params.classifier.plain_area_lr_share[args.dataset]
    source = Source(seen.pixels, seen.factors.shape)
    percent: dict[str, float] = {}
    gain: dict[str, dict[str, float]] = {}
    first: Tensor | None = None
    for value in args.values:
        lr, share = (value, usual_share) if args.field == "lr" else (budget.lr, value)
        training = ClassifierTraining(
            ErmConfig(rule="erm", mix={"generated": 1.0}),
            {"generated": source},
            budget.model_copy(update={"lr": lr}),
            precision=params.compute.precision,
            seed=args.seed,
            plain_area_lr_share=share,
        )
        for _ in training.records():
            pass
        predicted, _ = predict(training.network, held_out.pixels, precision=params.compute.precision)
        of_digit = 100 * (predicted == held_out.labels).float().unflatten(0, (-1, _PER_ORIGINAL)).mean(1)
        percent[f"{value:g}"] = round(of_digit.mean().item(), 2)
        if first is None:
            first = of_digit
            continue
        difference = of_digit - first
        error = difference.std() / len(difference) ** 0.5
        gain[f"{value:g}"] = {"mean": round(difference.mean().item(), 2), "standard_error": round(error.item(), 2)}
    report(
        "held_out", read_right_percent=percent, gain=gain, digits=len(held_out.labels) // _PER_ORIGINAL, **vars(args)
    )


def _held_out(real: Path, checkpoint: Path, params: Params, dataset: str, seed: int) -> Source:
    """Counterfactuals of the validation images, with labels and noise that no training saw."""
    generator, config = load_inferring_generator(checkpoint, dataset=dataset, seed=seed)
    pixels, factors = counterfactuals_of(
        generator,
        config,
        real=real,
        dataset=dataset,
        parts=[_PER_ORIGINAL * len(read_split(real, "val").labels)],
        cf_ratio=_PER_ORIGINAL,
        precision=params.compute.precision,
        seed=seed,
        split="val",
        first_shard=-1,  # one that no training saw
    )
    return Source(pixels, factors.shape)


if __name__ == "__main__":
    main()
