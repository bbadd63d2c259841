"""Every stage is killed half-way, as by SIGKILL, and run again: nothing half-made is left and the bytes are the same."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_pipeline import Project, hashes, write_params

from cgn.files import sha256
from stages import code
from stages.listing import programs

CELL = "cgn-original_cf"

# What each stage is called, how it is run and what it writes.
STAGES: dict[str, tuple[Callable[[Project], object], list[str]]] = {
    "code": (
        lambda project: code.main(["--out", str(project.root / "code")]),
        [f"code/{name}" for name in programs()],
    ),
    "check": (Project.check, ["params-checked"]),
    "fetch": (Project.fetch, ["raw"]),
    "build_dataset": (Project.build_dataset, ["real", "environments"]),
    "train_generator": (Project.train_generator, ["checkpoints/cgn", "records/cgn"]),
    "generate": (Project.generate, ["generated"]),
    "train_classifier": (lambda project: project.train_classifier(CELL), [f"checkpoints/{CELL}", f"records/{CELL}"]),
    "predict": (lambda project: project.predict(CELL), [f"predictions/{CELL}-0.parquet"]),
    "score": (lambda project: project.score(CELL), [f"metrics/double_colored/{CELL}-0.json"]),
    "train_judges": (Project.train_judges, ["judges"]),
    "measure": (Project.measure, ["measured/double_colored/cgn/0", "metrics/double_colored/quality/cgn-0.json"]),
    "explain": (Project.explain, ["explained/double_colored", "metrics/double_colored/explained.json"]),
    "ablate": (
        Project.ablate,
        ["measured/double_colored/ablations/cgn-no_binary/0", "metrics/double_colored/ablation/cgn-no_binary-0.json"],
    ),
    "illustrate": (Project.illustrate, ["sheets/double_colored"]),
    "report": (Project.report, ["report"]),
}


def contents(out: Path) -> dict[str, str]:
    return {out.name: sha256(out)} if out.is_file() else hashes(out)


def killed_at(rename: int, work: Callable[[], None]) -> bool:
    """Run `work` in a process of its own that dies before it renames for the nth time; whether it got so far."""
    child = os.fork()
    if child == 0:
        replace = Path.replace
        renamed = 0

        def dying(path: Path, target: Path) -> Path:
            nonlocal renamed
            renamed += 1
            if renamed == rename:
                os.kill(os.getpid(), signal.SIGKILL)
            return replace(path, target)

        Path.replace = dying  # type: ignore[assignment,method-assign]
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


# In two parts, since tests run side by side; what a part needs of earlier stages is run once.
ORDER = list(STAGES)
PARTS = [ORDER[: ORDER.index("train_judges")], ORDER[ORDER.index("train_judges") :]]


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("names", PARTS, ids=["until predictions are scored", "what the report needs beside"])
def test_a_stage_killed_before_any_of_its_renames_gives_the_same_bytes_when_run_again(
    tmp_path: Path, names: list[str]
) -> None:
    project = Project(tmp_path, write_params(tmp_path, lambda params: params.update(classifiers=[])))
    for name, (run, outs) in STAGES.items():
        run(project)
        if name not in names:
            continue
        expected = {out: contents(tmp_path / out) for out in outs}
        assert any(expected.values()), name
        rename = 1
        while True:
            for out in outs:
                project.remove(out)  # as DVC does before a stage starts
            if not killed_at(rename, lambda: run(project)):  # noqa: B023
                break
            for out in outs:
                assert contents(tmp_path / out) in ({}, expected[out]), f"{name}: half of {out} was left"
            run(project)
            assert {out: contents(tmp_path / out) for out in outs} == expected, f"{name}, killed at rename {rename}"
            assert list(tmp_path.rglob("*.partial")) == [], f"{name}, killed at rename {rename}"
            rename += 1
        assert rename > 1, f"{name} renamed nothing"
        if name == names[-1]:
            break
