"""What the flows share: stages run one after another as tasks of a Prefect flow, and a command line around it."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prefect import Flow, Task, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from cgn.config import Runtime, load_params
from cgn.errors import InputError, one_line
from flows.dvc import DvcError, Outcome, Result, Stage, run_stage

PARAMS = Path("params.yaml")
RETRIES = 2  # of a stage that ends with an I/O fault; prefect.toml says after how long
STATE_NAMES = {Outcome.SKIPPED: "Skipped", Outcome.RESTORED: "Restored", Outcome.RAN: "Ran"}

Choose = Callable[[Sequence[str]], tuple[Stage, ...]]  # the stages that the named ones, or none, stand for


def run_name(flow: str) -> Callable[[], str]:
    """What names a flow's runs: the flow, and what it was asked for."""
    return lambda: f"{flow}: {', '.join(flow_run.parameters.get('targets') or ['all stages'])}"


def bring_all_up_to_date(choose: Choose, targets: Sequence[str], *, deadline: Callable[[Runtime], float]) -> State:
    """How a flow's run ends that brings the chosen stages up to date; it fails if a stage does, after all that does not need it."""
    try:
        deadline_seconds = deadline(load_params(PARAMS).runtime)
        stages = choose(targets)
    except (InputError, DvcError) as error:
        return Failed(message=str(error))
    get_run_logger().info("%d stages, %d of them stale", len(stages), sum(stage.stale for stage in stages))
    results = run_in_order(stages, deadline_seconds)
    create_markdown_artifact(key="stages", markdown=summary(results), description="What became of every stage")
    ended = Failed if any(result.outcome is Outcome.FAILED for result in results) else Completed
    return ended(message=conclusion(results), data=results)


def run_in_order(stages: Sequence[Stage], deadline_seconds: float) -> list[Result]:
    """Run the stages one after another, each after what it needs; what needs a failed stage is not run."""
    results: dict[str, Result] = {}
    for stage in stages:
        needed = [results[name] for name in stage.needs]
        lost = [result for result in needed if result.outcome in (Outcome.FAILED, Outcome.BLOCKED)]
        if lost:
            cause = lost[0].cause if lost[0].outcome is Outcome.BLOCKED else f"needs {lost[0].stage}, which failed"
            results[stage.name] = Result(stage.name, Outcome.BLOCKED, cause=cause)
            continue
        may_run = stage.stale or any(result.outcome is not Outcome.SKIPPED for result in needed)
        state = bring_up_to_date(stage, may_run, deadline_seconds, return_state=True)
        came_to: Any = state.result(raise_on_failure=False)
        if not isinstance(came_to, Result):  # what the task raised instead
            came_to = Result(stage.name, Outcome.FAILED, cause=one_line(f"{type(came_to).__name__}: {came_to}"))
        results[stage.name] = came_to
    return list(results.values())


def may_pass(_task: Task[..., Any], _run: TaskRun, state: State) -> bool:
    """Whether what a stage failed of is a fault of a disk or of the network, which may be gone the next time."""
    return isinstance(state.data, Result) and state.data.code == os.EX_TEMPFAIL


@task(
    name="stage",
    task_run_name="{stage.title}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_condition_fn=may_pass,
)
def bring_up_to_date(stage: Stage, may_run: bool, deadline_seconds: float) -> State:
    """Run one stage; it costs no process where neither the stage nor anything that it needs has changed."""
    result = Result(stage.name, Outcome.SKIPPED)
    if may_run:
        result = run_stage(stage.name, on_line=get_run_logger().info, deadline_seconds=deadline_seconds)
    if result.outcome is Outcome.FAILED:
        return Failed(message=result.cause, data=result)
    return Completed(name=STATE_NAMES[result.outcome], message=f"{result.seconds:.1f} s", data=result)


def summary(results: Sequence[Result]) -> str:
    """A markdown table with a row per stage."""
    rows = [(r.stage, str(r.outcome), f"{r.seconds:.1f}", r.cause.replace("|", "\\|")) for r in results]
    return "\n".join(
        f"| {' | '.join(row)} |" for row in [("stage", "outcome", "seconds", "cause"), ("---",) * 4, *rows]
    )


def table(results: Sequence[Result]) -> str:
    """The same in aligned columns, for a terminal."""
    width = max(len(result.stage) for result in results)
    rows = [f"{r.stage:<{width}}  {r.outcome:<9}  {r.seconds:>7.1f} s  {r.cause}" for r in results]
    return "\n".join(row.rstrip() for row in rows)


def conclusion(results: Sequence[Result]) -> str:
    """What the whole run came to, in one line."""
    counts = {outcome: sum(result.outcome is outcome for result in results) for outcome in Outcome}
    words = [", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)]
    words += [f"{result.stage}: {result.cause}" for result in results if result.outcome is Outcome.FAILED]
    return "; ".join(words)


def run_from_terminal(
    flow: Flow[..., State],
    choose: Choose,
    *,
    check: Callable[[Path], Any],
    description: str | None,
    argv: Sequence[str] | None,
) -> None:
    """Run a flow here and now; exit with 2 on a wrong params.yaml, which `check` refuses, with 1 if anything failed."""
    options = argparse.ArgumentParser(prog=f"python -m flows.{flow.name}", description=description)
    options.add_argument("targets", nargs="*", help="stages or groups of stages; all where none is named")
    args = options.parse_args(argv)
    try:
        check(PARAMS)
        if args.targets:
            choose(args.targets)
    except (InputError, DvcError) as error:
        sys.exit(_complain(str(error), 2 if isinstance(error, InputError) else 1))
    state = flow(args.targets, return_state=True)
    results = state.result(raise_on_failure=False)
    if isinstance(results, list):
        sys.stdout.write(f"{table(results)}\n")
    if not state.is_completed():
        sys.exit(_complain(str(state.message), 1))
    sys.stdout.write(f"{state.message}\n")


def _complain(message: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code
