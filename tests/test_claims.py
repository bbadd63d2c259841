"""Facts about the verdicts on the claims of the paper and its reproductions."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from cgn.evaluation import claims, tables
from cgn.evaluation.measured import SweepCell


def cell(name: str, method: str, recipe: str | None, real_share: float) -> tables.Experiment:
    regime = "unbiased images" if method.startswith("oracle") else "generated images" if recipe else "biased images"
    return tables.Experiment(name, method, name, regime, real_share, "shape", recipe)


FOUND = [
    cell("original", "original", None, 1.0),
    cell("cgn-cf_only", "cf_only", "fast", 0.0),
    cell("cgn-original_cf", "original_cf", "fast", 0.05),
    cell("gan-original_cf", "original_cf", "gan", 0.05),
    cell("oracle", "oracle", None, 1.0),
]


def point(
    num_images: int, accuracy: float, *, seen: int | None = None, generator: str = "cgn", ratio: int = 1
) -> SweepCell:
    """A cell of a data set with 50,000 training images."""
    spread = tables.spread_of([accuracy, accuracy + 0.01, accuracy - 0.01])
    shapes = min(num_images // ratio, 50_000)
    return SweepCell(generator, num_images, ratio, 0, seen or num_images, shapes, {"test": spread})


SWEPT = [point(10_000, 0.5), point(10_000, 0.9, ratio=5), point(100_000, 0.8), point(1_000_000, 0.85, seen=500_000)]
GOOD = {
    "original": (0.1, 0.12, 0.11),
    "cgn-cf_only": (0.85, 0.86, 0.85),
    "cgn-original_cf": (0.85, 0.86, 0.85),
    "gan-original_cf": (0.12, 0.11, 0.1),
    "oracle": (0.9, 0.9, 0.9),
}


def rows_of(accuracies: Mapping[str, tuple[float, ...]], *, num_images: int = 10_000) -> list[dict[str, object]]:
    return [
        {"dataset": "wildlife", "experiment": name, "test_set": "test", "metric": metric, "value": value, "seed": seed}
        for name, values in accuracies.items()
        for seed, accuracy in enumerate(values)
        for metric, value in {"accuracy": accuracy, "num_images": num_images}.items()
    ]


def evidence(
    *,
    sweep: Sequence[SweepCell] = SWEPT,
    attempts: Sequence[int] = (1, 1, 1),
    looks: Mapping[str, tables.Estimate] = MappingProxyType({}),
    num_images: int = 10_000,
    more: Sequence[dict[str, object]] = (),
    **accuracies: tuple[float, ...],
) -> claims.Evidence:
    changed = {name.replace("_", "-", 1) if "_" in name else name: values for name, values in accuracies.items()}
    return claims.Evidence(
        [*rows_of({**GOOD, **changed}, num_images=num_images), *more],
        FOUND,
        sweeps={"wildlife": sweep},
        looks={"wildlife": looks},
        attempts={"wildlife": {"cgn": dict(enumerate(attempts))}},
    )


def verdicts(**changes: Any) -> list[str]:
    return [claim.verdicts[0][1] for claim in claims.claims(evidence(**changes), ["wildlife"], scale="demo")]


READS, NO_HARM, NO_MECHANISMS, NO_COLLAPSE, MORE, SHARING, STABLE, LOOKS = range(8)  # the claims in their order


def test_what_is_seen_of_a_good_generator_bears_the_claims_out() -> None:
    assert verdicts() == ["holds"] * 6 + ["not measured"] * 2
    assert verdicts(oracle=()) == [
        "not measured",
        "holds",
        *["not measured"] * 2,
        *["holds"] * 2,
        *["not measured"] * 2,
    ]


def test_a_classifier_reads_the_digit_where_every_seed_is_nearer_to_the_oracle() -> None:
    assert (
        verdicts(cgn_original_cf=(0.13, 0.13, 0.13))[READS] == "does not hold"
    )  # more than biased, and nothing gained
    assert verdicts(cgn_original_cf=(0.85, 0.84, 0.45))[READS] == "too close to say"
    assert verdicts(original=(0.9, 0.9, 0.9))[READS] == "not measured"  # no shortcut to remove


def test_a_gan_that_removes_the_shortcut_refutes_that_none_does() -> None:
    assert verdicts(gan_original_cf=(0.85, 0.85, 0.85))[NO_MECHANISMS] == "does not hold"
    assert verdicts(gan_original_cf=(0.88, 0.87, 0.4))[NO_MECHANISMS] == "too close to say"


def test_a_difference_counts_beyond_two_standard_errors_of_images_and_seeds() -> None:
    def no_harm(alone: tuple[float, ...], both: tuple[float, ...], *, num_images: int = 100_000) -> str:
        return verdicts(cgn_cf_only=alone, cgn_original_cf=both, num_images=num_images)[NO_HARM]

    assert no_harm((0.85,) * 3, (0.82,) * 3) == "does not hold"
    assert no_harm((0.85,) * 3, (0.84,) * 3) == "holds"  # a loss, but not of two points
    assert no_harm((0.85,) * 3, (0.84,) * 3, num_images=1_000) == "too close to say"
    assert no_harm((0.80, 0.85, 0.90), (0.84,) * 3) == "too close to say"
    assert no_harm((0.86,) * 3, (0.5, 0.86, 0.86)) == "too close to say"


def test_a_training_that_was_started_anew_has_collapsed() -> None:
    assert verdicts(attempts=(1, 2, 1))[NO_COLLAPSE] == "does not hold"
    assert verdicts(attempts=(1, 1))[NO_COLLAPSE] == "not measured"
    assert verdicts(attempts=(1, 1, 1, 5))[NO_COLLAPSE] == "holds"  # of a seed without a classifier
    assert verdicts(cgn_cf_only=(0.85, 0.85, 0.7))[NO_COLLAPSE] == "does not hold"


def test_more_counterfactuals_are_judged_by_those_that_were_seen() -> None:
    def more(*cells: SweepCell) -> tuple[str, str]:
        (_, verdict, numbers), *_ = claims.claims(evidence(sweep=cells), ["wildlife"], scale="demo")[MORE].verdicts
        return verdict, numbers

    assert more(*SWEPT[:3], point(1_000_000, 0.79, seen=500_000))[0] == "too close to say"
    assert more(*SWEPT[:3], point(1_000_000, 0.6, seen=500_000))[0] == "does not hold"
    verdict, numbers = more(*SWEPT[:3], point(1_000_000, 0.79, seen=90_000))
    assert (verdict, numbers.endswith("none saw more than 100,000")) == ("not measured", True)
    assert more(point(1_000_000, 0.85, seen=500_000)) == ("not measured", "500,000 seen: 85.0 ± 1.0")
    assert more() == ("not measured", "")
    assert more(*SWEPT, point(10_000, 0.99, generator="cut_paste"))[0] == "holds"
    assert more(*(cell._replace(generator="gan") for cell in SWEPT)) == ("not measured", "")


def test_of_cells_of_which_as_many_were_seen_the_smallest_counts() -> None:
    cells = (point(10_000, 0.5), point(500_000, 0.8), point(1_000_000, 0.7, seen=500_000))
    (_, verdict, numbers), *_ = claims.claims(evidence(sweep=cells), ["wildlife"], scale="full")[MORE].verdicts
    assert (verdict, numbers) == ("holds", "10,000 seen: 50.0 ± 1.0; 500,000 seen: 80.0 ± 1.0")


def test_the_lowest_ratio_of_the_longest_curves_is_judged() -> None:
    cells = (
        point(10_000, 0.5, ratio=5),
        point(100_000, 0.6, ratio=5),
        point(100_000, 0.7),
        point(1_000_000, 0.8, seen=500_000),
    )
    (_, _, numbers), *_ = claims.claims(evidence(sweep=cells), ["wildlife"], scale="full")[MORE].verdicts
    assert numbers == "100,000 seen: 70.0 ± 1.0; 500,000 seen: 80.0 ± 1.0"


def test_sharing_a_shape_is_judged_by_the_ends_of_every_row() -> None:
    def sharing(*cells: SweepCell) -> tuple[str, str]:
        (_, verdict, numbers), *_ = claims.claims(evidence(sweep=cells), ["wildlife"], scale="full")[SHARING].verdicts
        return verdict, numbers

    better = (point(10_000, 0.5), point(10_000, 0.4, ratio=5), point(10_000, 0.6, ratio=10))
    assert sharing(*better) == ("holds", "10,000: 60.0 ± 1.0 of 1,000 shapes, 50.0 ± 1.0 of 10,000")
    whole = (point(1_000_000, 0.7), point(1_000_000, 0.7, ratio=20))  # of 50,000 shapes both
    in_part = (point(100_000, 0.7, seen=90_000), point(100_000, 0.6, seen=90_000, ratio=20))
    assert sharing(*better, *whole, *in_part) == sharing(*better)
    assert sharing(*better, point(100_000, 0.6), point(100_000, 0.6, ratio=20))[0] == "too close to say"
    assert sharing(*better, point(100_000, 0.6), point(100_000, 0.5, ratio=20))[0] == "does not hold"
    assert sharing(point(10_000, 0.5), point(100_000, 0.6, ratio=5)) == ("not measured", "")


def environments(**moves: float) -> list[dict[str, object]]:
    """Classifiers of three factors in two environments: the accuracy of each changes by so much."""
    names = {"shape": "cgn-cf_only", "texture": "cgn-cf_only_texture", "background": "cgn-cf_only_background"}
    return [
        {
            "dataset": "wildlife",
            "experiment": names[factor],
            "test_set": name,
            "metric": metric,
            "value": value,
            "seed": 0,
        }
        for factor, move in moves.items()
        for name, accuracy in {"env_90": 0.9, "env_100": 0.9 + move, "test": 0.5}.items()
        for metric, value in {"accuracy": accuracy, "num_images": 10_000, "background_agreement": 0.1}.items()
    ]


def test_a_stable_signal_is_judged_where_every_factor_has_an_able_classifier() -> None:
    found = [
        cell("cgn-cf_only", "cf_only", "fast", 0.0),
        cell("cgn-cf_only_texture", "cf_only_texture", "fast", 0.0)._replace(factor="texture"),
        cell("cgn-cf_only_background", "cf_only_background", "fast", 0.0)._replace(factor="background"),
    ]

    def stable(**moves: float) -> str:
        given = claims.Evidence(environments(**moves), found, sweeps={}, looks={}, attempts={})
        return claims.claims(given, ["wildlife"], scale="demo")[STABLE].verdicts[0][1]

    assert stable(shape=0.01, texture=0.09, background=0.1) == "holds, one seed"
    assert stable(shape=0.09, texture=0.01, background=0.1) == "does not hold, one seed"
    assert stable(shape=0.088, texture=0.09, background=0.1) == "too close to say"
    assert stable(shape=0.01, texture=0.09) == stable(shape=-0.6, texture=0.09, background=0.1) == "not measured"


def test_claims_are_of_one_generator_that_has_both_mixes() -> None:
    found = [cell("cgn_authors-cf_only", "cf_only", "authors_code", 0.0), *FOUND]
    given = evidence()._replace(found=found)
    given = given._replace(rows=[*given.rows, *rows_of({"cgn_authors-cf_only": (0.99,) * 3})])
    assert claims.claims(given, ["wildlife"], scale="demo")[NO_HARM].verdicts[0][1] == "holds"


def test_a_verdict_says_of_how_few_seeds_it_is() -> None:
    few = evidence(original=(0.1,), attempts=())
    assert claims.claims(few, ["wildlife"], scale="full")[READS].verdicts == (
        ("Wildlife MNIST", "holds, one seed", "85.3 ± 0.6; biased 10.0, better oracle 90.0 ± 0.0"),
    )
    assert (
        claims.claims(few, ["wildlife"], scale="full")[READS].command
        == "dvc exp run --temp -S scale=full -S 'seeds=[0,1,2]'"
    )
    one = few._replace(rows=[row for row in few.rows if row["seed"] == 0])
    assert claims.claims(one, ["wildlife"], scale="full")[READS].command == "dvc exp run --temp -S scale=full"


def test_of_two_seeds_the_numbers_say_so_and_a_verdict_to_the_contrary_is_marked_too() -> None:
    two = evidence(original=(0.1, 0.11))
    said = claims.claims(two, ["wildlife"], scale="full")[READS].verdicts[0]
    assert said[1] == "holds"
    assert said[2].endswith(" (seeds: 2)")
    assert verdicts(original=(0.1,), gan_original_cf=(0.1,))[NO_MECHANISMS] == "holds, one seed"


def test_a_claims_command_lists_the_oracles_that_it_is_judged_by() -> None:
    found = [*FOUND, cell("oracle_5x", "oracle_5x", None, 1.0)]
    command = claims.claims(evidence()._replace(found=found), ["wildlife"], scale="full")[READS].command
    assert command.endswith(" -S 'seeds=[0,1,2]' -S 'classifiers=[original,oracle,oracle_5x]'")


def test_an_oracle_of_fewer_seeds_than_what_is_held_to_it_is_said() -> None:
    few = evidence(oracle=(0.9,))
    both, alone = (claims.claims(few, ["wildlife"], scale="full")[index].verdicts[0][2] for index in (0, 3))
    assert both.endswith(" (seeds of the oracle: 1)")
    assert alone.endswith(" (seeds of the oracle: 1)")


def test_looking_at_the_digit_needs_more_than_the_error_of_its_measure() -> None:
    looks = {"original": tables.Estimate(0.2, 0.01), "cgn-original_cf": tables.Estimate(0.24, 0.01)}
    assert verdicts(looks=looks)[LOOKS] == "holds, one seed"
    explained = {**looks, "oracle": tables.Estimate(0.3, 0.01)}
    better = evidence(looks=explained)._replace(found=[cell("oracle_5x", "oracle", None, 1.0), *FOUND])
    better = better._replace(rows=[*better.rows, *rows_of({"oracle_5x": (0.95,) * 3})])  # which nobody has explained
    said = claims.claims(better, ["wildlife"], scale="full")[LOOKS]
    assert said.verdicts[0][2].endswith("; the oracle: 30.0 ± 1.0 (± standard error over images)")
    assert said.command == "dvc exp run --temp -S scale=full"
    assert verdicts(looks={**looks, "original": tables.Estimate(0.22, 0.01)})[LOOKS] == "too close to say"
    assert verdicts(looks={**looks, "original": tables.Estimate(0.28, 0.01)})[LOOKS] == "does not hold, one seed"
