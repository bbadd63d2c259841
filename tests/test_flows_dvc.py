"""What DVC is asked on a tiny repository, how its stages end, and that nothing outlives them."""

import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest
from isolation import ROOT
from tiny_repository import STUBBORN, assert_all_gone, one_stage, repro, running, wait_for

from cgn.errors import InputError
from flows import imagenet, mnist
from flows.dvc import DvcError, Outcome, Result, Stage, groups_over, plan, run_stage

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("user_of_their_own")]

WRONG_PARAMS = """
from pathlib import Path
from cgn.config import load_params
from stages.common import run
run(lambda: load_params(Path("wrong.yaml")) and None)
"""
# Shells start background programs with Ctrl-C ignored, and children inherit that: say that this one wants it.
RUN_STUBBORN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from flows.dvc import run_stage
run_stage("stubborn", on_line=lambda line: print(line, flush=True), deadline_seconds=60, grace_seconds=0.3)
"""


def run(folder: Path, name: str, deadline_seconds: float = 60) -> tuple[Result, list[str]]:
    lines: list[str] = []
    result = run_stage(name, on_line=lines.append, deadline_seconds=deadline_seconds, grace_seconds=0.3, repo=folder)
    return result, lines


# ---- what there is to do


def test_the_plan_is_in_the_order_in_which_dvc_runs_and_knows_what_each_stage_needs(repository: Path) -> None:
    stages = plan(repo=repository)
    repro(repository)
    locked = re.findall(r"^  (\S+):$", (repository / "dvc.lock").read_text(), re.MULTILINE)
    assert [stage.name for stage in stages] == locked
    needs = {stage.name: set(stage.needs) for stage in stages}
    assert needs["check"] == set()
    assert needs["train@b-0"] == {"make@b"}
    assert needs["report"] == {"train@a-0", "train@b-0"}


def test_a_stage_is_stale_only_where_its_own_inputs_or_outputs_changed(repository: Path) -> None:
    assert all(stage.stale for stage in plan(repo=repository))
    repro(repository)
    assert not any(stage.stale for stage in plan(repo=repository))
    (repository / "trained-a-0").unlink()
    (repository / "input").write_text("another word\n")
    assert [stage.name for stage in plan(repo=repository) if stage.stale] == ["check", "train@a-0", "report"]


def test_a_pipeline_without_stages_is_an_error(repository: Path) -> None:
    (repository / "dvc.yaml").write_text("stages: {}\n")
    with pytest.raises(DvcError, match="found no stage"):
        plan(repo=repository)


def test_a_pipeline_that_dvc_cannot_read_is_an_error_in_one_line(repository: Path) -> None:
    (repository / "dvc.yaml").write_text("stages: {check: {outs: [x]}}\n")
    with pytest.raises(DvcError, match=r"`dvc dag --dot` failed: .*cmd") as caught:
        plan(repo=repository)
    assert "\n" not in str(caught.value)


def test_a_target_brings_what_it_needs_and_a_group_all_its_stages(repository: Path) -> None:
    assert [stage.name for stage in plan(["train@b-0"], repo=repository)] == ["check", "make@b", "train@b-0"]
    assert [stage.name for stage in plan(["make"], repo=repository)] == ["check", "make@b", "make@a"]


def test_a_target_without_stages_is_an_error_and_not_everything(repository: Path) -> None:
    for target in ("none", "trian", "make@c"):
        with pytest.raises(ValueError, match=f"found '{target}', which names no stage.*: check, make, report, train"):
            plan([target], repo=repository)


def test_a_plan_of_some_groups_has_what_they_need_and_no_other_name(repository: Path) -> None:
    def of_train(targets: list[str]) -> list[str]:
        return [stage.name for stage in plan(targets, admits=lambda group: group == "train", repo=repository)]

    assert set(of_train([])) == {"check", "make@a", "make@b", "train@a-0", "train@b-0"}
    assert of_train(["make@b"]) == ["check", "make@b"]
    with pytest.raises(ValueError, match=r"found 'report', which names no stage of this flow.*: check, make, train"):
        of_train(["report"])


def test_the_groups_over_an_axis_are_those_whose_matrix_names_it(repository: Path) -> None:
    assert groups_over("imagenet", repo=repository) == {"none"}
    assert groups_over("imagenet", repo=ROOT) >= {"fetch_weights", "train_imagenet", "measure_imagenet"}
    assert not groups_over("imagenet", repo=ROOT) & {"code", "check", "fetch", "train_generator", "report"}
    for content in ("stages: {check: 1}", "- x", "{"):
        (repository / "dvc.yaml").write_text(content)
        with pytest.raises(DvcError, match=r"dvc.yaml cannot be read"):
            groups_over("imagenet", repo=repository)


def test_each_flow_runs_its_own_stages_and_what_they_need(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    everything = {stage.name for stage in plan()}
    assert {stage.name for stage in mnist.stages()} == everything
    with pytest.raises(
        InputError,
        match=r"found \[\].*one of full, mini, tiny; change the line `imagenet: \[\]` to `imagenet: \[tiny\]`",
    ):
        imagenet.stages()
    params = repository / "params.yaml"
    params.write_text(params.read_text().replace("imagenet: []", "imagenet: [tiny]"))
    assert {stage.name for stage in mnist.stages()} == everything
    assert [stage.name for stage in imagenet.stages()] == ["check", "none@tiny"]


def test_titles_are_for_people() -> None:
    assert Stage("train_generator@demo-colored-cgn-0", (), True).title == "train_generator demo colored cgn seed 0"
    assert Stage("check", (), True).title == "check"


def test_only_one_module_of_the_flows_starts_processes() -> None:
    starters = re.compile(
        r"^\s*(import|from) (subprocess|multiprocessing)\b|os\.(system|exec|spawn|fork)", re.MULTILINE
    )
    assert [path.name for path in (ROOT / "flows").glob("*.py") if starters.search(path.read_text())] == ["dvc.py"]


# ---- one stage


def test_a_stage_runs_is_skipped_and_comes_back_from_the_run_cache(repository: Path) -> None:
    run(repository, "check")
    result, lines = run(repository, "make@a")
    assert (result.outcome, result.code, result.cause) == (Outcome.RAN, 0, "")
    assert lines[0] == "Running stage 'make@a':"
    assert lines[2:] == ["making a"]  # line 1 is the command; DVC's advice is left out
    assert run(repository, "make@a")[0].outcome is Outcome.SKIPPED
    (repository / "made-a").unlink()
    assert run(repository, "make@a")[0].outcome is Outcome.RESTORED
    assert (repository / "made-a").read_text() == "a a\n"


def test_a_failed_stage_tells_its_own_exit_code_cause_and_field(repository: Path) -> None:
    wrong = (ROOT / "params.yaml").read_text().replace("seeds: [0]", "seeds: [-1]")
    (repository / "wrong.yaml").write_text(wrong)
    (repository / "wrong.py").write_text(WRONG_PARAMS)
    one_stage(repository, "wrong", "python wrong.py")
    result, _ = run(repository, "wrong")
    assert (result.outcome, result.code) == (Outcome.FAILED, 2)
    assert result.field.startswith("seeds")
    assert "-1" in result.cause


def test_a_stage_that_tells_nothing_fails_with_what_dvc_says(repository: Path) -> None:
    one_stage(repository, "dies", "echo last words; exit 3")
    result, lines = run(repository, "dies")
    assert (result.outcome, result.code) == (Outcome.FAILED, 255)
    assert result.cause == "failed to run: echo last words; exit 3, exited with 3"
    assert "last words" in lines


def test_a_deadline_ends_the_stage_and_its_children_however_stubborn(repository: Path) -> None:
    (repository / "stubborn.sh").write_text(STUBBORN)
    one_stage(repository, "stubborn", "sh stubborn.sh")
    started = time.monotonic()
    result, lines = run(repository, "stubborn", deadline_seconds=3)
    assert time.monotonic() - started < 10
    assert result.outcome is Outcome.FAILED
    assert "deadline of 3 s" in result.cause
    assert_all_gone(repository, lines)
    one_stage(repository, "stubborn", "echo calm > stubborn.txt")
    assert run(repository, "stubborn")[0].outcome is Outcome.RAN  # no lock is left behind


def test_a_child_that_a_stage_leaves_behind_is_ended_with_it(repository: Path) -> None:
    one_stage(repository, "leaves", "'sleep 300 & echo pids $! $!; echo x > ticks; echo done > leaves.txt'")
    result, lines = run(repository, "leaves")
    assert result.outcome is Outcome.RAN
    assert result.seconds < 30
    assert_all_gone(repository, lines)


def test_an_error_in_the_callback_ends_the_stage(repository: Path) -> None:
    (repository / "stubborn.sh").write_text(STUBBORN)
    one_stage(repository, "stubborn", "sh stubborn.sh")
    seen: list[str] = []

    def stumble(line: str) -> None:
        seen.append(line)
        if line.startswith("pids "):
            raise ConnectionError("the log is gone")

    with pytest.raises(ConnectionError, match="the log is gone"):
        run_stage("stubborn", on_line=stumble, deadline_seconds=60, grace_seconds=0.3, repo=repository)
    assert_all_gone(repository, seen)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_runner_ends_the_stage(repository: Path, number: signal.Signals) -> None:
    (repository / "stubborn.sh").write_text(STUBBORN)
    one_stage(repository, "stubborn", "sh stubborn.sh")
    with running(repository, sys.executable, "-c", RUN_STUBBORN) as (process, log):
        wait_for(lambda: "pids " in log.read_text() and (repository / "ticks").exists())
        os.kill(process.pid, number)
        assert process.wait(10) != 0
        assert_all_gone(repository, log.read_text().splitlines())
