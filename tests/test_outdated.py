"""Facts about which results dvc.lock holds that today's code and parameters would make anew."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from benchmarks.outdated import Lock, marked
from stages.listing import listing

PARAMS = {"compute": {"threads": 2}, "methods": {"oracle": {"times": 1}}, "seeds": [0]}


def code(program: str) -> dict[str, str]:
    return {"path": f"data/code/{program}", "md5": hashlib.md5(listing(program).encode()).hexdigest()}


def stages() -> dict[str, Any]:
    """A classifier of two seeds, its score, and what explains the first."""
    made: dict[str, Any] = {
        "build_dataset@x": {"deps": [code("build_dataset")], "outs": [{"path": "data/real", "md5": "a"}]},
        "explain@x": {
            "deps": [code("explain"), {"path": "data/checkpoints/x", "md5": "c"}],
            "params": {"params.yaml": {"seeds": [0], "classifiers": ["oracle"], "generators": [], "mixes": []}},
        },
    }
    for seed in "01":
        trained, metrics = f"data/checkpoints/x/oracle/{seed}", f"data/metrics/x/oracle-{seed}.json"
        made[f"train_classifier@x-oracle-{seed}"] = {
            "deps": [code("train_classifier"), {"path": "data/real", "md5": "a"}],
            "params": {"params.yaml": {"compute": {"threads": 2}, "methods.oracle": {"times": 1}}},
            "outs": [{"path": trained, "md5": f"b{seed}"}],
        }
        made[f"score@x-oracle-{seed}"] = {
            "deps": [code("score"), {"path": trained, "md5": f"b{seed}"}],
            "outs": [{"path": metrics, "md5": "d"}],
        }
    return made


def lock_of(folder: Path, made: dict[str, Any], params: dict[str, Any] = PARAMS) -> Lock:
    for name, content in {"dvc.lock": {"stages": made}, "params.yaml": params}.items():
        with (folder / name).open("w") as file:
            YAML(typ="safe").dump(content, file)
    return Lock(folder / "dvc.lock", folder / "params.yaml")


def test_what_code_and_parameters_of_now_made_is_up_to_date(tmp_path: Path) -> None:
    made = stages()
    lock = lock_of(tmp_path, made)
    assert not any(map(lock.outdated, made))


@pytest.mark.parametrize(
    ("stage", "dep"), [("train_classifier@x-oracle-0", 0), ("build_dataset@x", 0), ("train_classifier@x-oracle-0", 1)]
)
def test_other_code_or_another_input_outdates_all_that_comes_after(tmp_path: Path, stage: str, dep: int) -> None:
    made = stages()
    made[stage]["deps"][dep]["md5"] = "other"
    lock = lock_of(tmp_path, made)
    assert lock.outdated("score@x-oracle-0")
    assert lock.outdated("explain@x")
    assert lock.outdated("score@x-oracle-1") == (stage == "build_dataset@x")


def test_a_changed_or_missing_parameter_outdates_but_not_another_list_of_what_to_make(tmp_path: Path) -> None:
    made = stages()
    assert not lock_of(tmp_path, made, {**PARAMS, "seeds": [5]}).outdated("explain@x")
    for methods in ({"oracle": {"times": 5}}, {}):
        lock = lock_of(tmp_path, made, {**PARAMS, "methods": methods})
        assert lock.outdated("score@x-oracle-0")
        assert lock.outdated("explain@x")
        assert not lock.outdated("build_dataset@x")


def test_a_stage_that_is_not_there_is_outdated(tmp_path: Path) -> None:
    assert lock_of(tmp_path, stages()).outdated("score@x-oracle-2")


def test_a_row_is_marked_where_any_of_its_seeds_is_outdated(tmp_path: Path) -> None:
    page = "\n".join(
        [
            "| method | command |",
            *(
                f"| One | `dvc repro {name}` |"
                for name in ("score@x-oracle-0", "explain@x", "explain@x score@x-oracle-0")
            ),
            "| One | `dvc exp run --temp -S 'seeds=[0,1]' score@x-oracle-0 score@x-oracle-1` |",
            "end",
        ]
    )
    made = stages()
    assert marked(page, lock_of(tmp_path, made)) == page
    made["score@x-oracle-1"]["deps"][0]["md5"] = "other"
    assert marked(page, lock_of(tmp_path, made)).split("\n") == [
        "| method | command |",
        "| One † | `dvc repro score@x-oracle-0` |",
        "| One | `dvc repro explain@x` |",
        "| One † | `dvc repro explain@x score@x-oracle-0` |",
        "| One † | `dvc exp run --temp -S 'seeds=[0,1]' score@x-oracle-0 score@x-oracle-1` |",
        "end",
    ]
