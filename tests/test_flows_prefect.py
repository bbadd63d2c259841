"""The flow on a tiny repository: with a real Prefect server and worker on loopback, and without."""

import json
import shutil
import socket
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from isolation import ROOT
from tiny_repository import MAKE, STUBBORN, assert_all_gone, call, make_repository, one_stage, repro, running, wait_for

from flows.dvc import Outcome, Result
from flows.pipeline import conclusion, summary, table

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("user_of_their_own")]
PREFECT = (sys.executable, "-m", "prefect")
MNIST = (sys.executable, "-m", "flows.mnist")
IMAGENET = (sys.executable, "-m", "flows.imagenet")


def test_a_run_is_told_in_a_table_and_one_line() -> None:
    results = [
        Result("check", Outcome.SKIPPED),
        Result("train@1", Outcome.FAILED, 2.5, 2, "seeds: found -1 | expected 0"),
        Result("report", Outcome.BLOCKED, cause="needs train@1, which failed"),
    ]
    assert conclusion(results) == "1 unchanged, 1 failed, 1 not run; train@1: seeds: found -1 | expected 0"
    assert summary(results).splitlines()[3] == "| train@1 | failed | 2.5 | seeds: found -1 \\| expected 0 |"
    assert table(results).splitlines()[2] == "report   not run        0.0 s  needs train@1, which failed"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API of a real Prefect server with its own database on a free port of the loopback."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(ROOT / "prefect.toml", folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PREFECT_HOME", str(folder / "home"))
        with running(folder, *PREFECT, "server", "start", "--port", str(port), "--no-ui") as (process, log):
            url = f"http://127.0.0.1:{port}/api"

            def answers() -> bool:
                assert process.poll() is None, log.read_text()
                try:
                    return bool(ask(f"{url}/health"))
                except OSError:
                    return False

            wait_for(answers, 90)
            yield url


def ask(url: str, **body: Any) -> Any:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode() if body else None, headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def last_run(server: str) -> dict[str, Any]:
    found: dict[str, Any] = ask(f"{server}/flow_runs/filter", sort="START_TIME_DESC", limit=1)[0]
    return found


def task_runs(server: str, flow_run: dict[str, Any]) -> dict[str, str]:
    found = ask(f"{server}/task_runs/filter", flow_runs={"id": {"any_": [flow_run["id"]]}})
    return {run["name"]: run["state_name"] for run in found}


@pytest.fixture
def on_server(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PREFECT_API_URL", server)
    return server


def test_the_flow_leaves_the_lock_file_of_dvc_repro_byte_for_byte(
    repository: Path, tmp_path: Path, on_server: str
) -> None:
    plain = make_repository(tmp_path / "plain")
    repro(plain)
    out = call(repository, *MNIST)
    assert out.splitlines()[-1] == "6 ran"
    for folder in (plain, repository):
        assert (folder / "report.txt").read_text() == "a b\na a\n"
        (folder / "input").write_text("another word\n")
    assert (repository / "dvc.lock").read_bytes() == (plain / "dvc.lock").read_bytes()
    assert (repository / ".gitignore").read_bytes() == (plain / ".gitignore").read_bytes()
    repro(plain)
    assert call(repository, *MNIST).splitlines()[-1] == "6 ran"
    assert (repository / "dvc.lock").read_bytes() == (plain / "dvc.lock").read_bytes()
    assert call(repository, *MNIST).splitlines()[-1] == "6 unchanged"
    (repository / "input").write_text("a word\n")
    assert call(repository, *MNIST, "train@b-0").splitlines()[-1] == "3 restored"
    flow_run = last_run(on_server)
    assert flow_run["name"] == "mnist: train@b-0"
    assert task_runs(on_server, flow_run) == dict.fromkeys(["check", "make b", "train b seed 0"], "Restored")


def test_after_a_failure_all_that_does_not_need_it_runs_and_the_flow_fails(repository: Path, on_server: str) -> None:
    (repository / "make.sh").write_text(f"test $2 != b || exit 4\n{MAKE}")
    out = call(repository, *MNIST, expect=1).splitlines()
    assert [line.split()[0] for line in out if " failed  " in line] == ["make@b"]
    assert [line.split()[0] for line in out if " not run  " in line] == ["train@b-0", "report"]
    assert (repository / "trained-a-0").exists()
    flow_run = last_run(on_server)
    assert flow_run["state_type"] == "FAILED"
    assert flow_run["state"]["message"].startswith("3 ran, 1 failed, 2 not run; make@b: failed to run: sh make.sh")
    (artifact,) = ask(f"{on_server}/artifacts/filter", flow_runs={"id": {"any_": [flow_run["id"]]}})
    assert "| report | not run | 0.0 | needs make@b, which failed |" in artifact["data"].splitlines()


# An I/O fault at the first two attempts: what a stage of ours tells of a lost connection.
UNSTEADY = """
echo x >> attempts
test $(wc -l < attempts) -gt 2 && exec touch unsteady.txt
echo '{"code": CODE, "cause": "connection lost", "field": ""}' > $CGN_OUTCOME
exit 1
"""


@pytest.mark.parametrize(("code", "attempts"), [(75, 3), (2, 1)])
def test_a_stage_is_tried_again_after_a_fault_that_may_pass_and_after_no_other(
    repository: Path, on_server: str, monkeypatch: pytest.MonkeyPatch, code: int, attempts: int
) -> None:
    monkeypatch.setenv("PREFECT_TASKS_DEFAULT_RETRY_DELAY_SECONDS", "0")
    (repository / "unsteady.sh").write_text(UNSTEADY.replace("CODE", str(code)))
    one_stage(repository, "unsteady", "sh unsteady.sh")
    out = call(repository, *MNIST, expect=0 if attempts == 3 else 1)
    assert len((repository / "attempts").read_text().split()) == attempts
    assert ("1 ran" in out) == (attempts == 3)
    assert task_runs(on_server, last_run(on_server)) == {"unsteady": "Ran" if attempts == 3 else "Failed"}


# The flow where a stage cannot even be started.
FULL_DISK = """
from flows import mnist, pipeline

def full(*_, **__):
    raise OSError("No space left\\non device")

pipeline.run_stage = full
mnist.main(["make@a"])
"""


def test_a_stage_that_cannot_be_started_fails_and_the_table_says_why(repository: Path, on_server: str) -> None:
    check, make = call(repository, sys.executable, "-c", FULL_DISK, expect=1).splitlines()
    assert check.split("  ")[-1] == "OSError: No space left on device"
    assert make.split("  ")[-1] == "needs check, which failed"


def test_a_target_without_stages_ends_before_the_flow_starts(repository: Path) -> None:
    assert call(repository, *MNIST, "none", expect=2) == ""


def test_wrong_parameters_end_the_flow_before_it_starts(repository: Path) -> None:
    (repository / "params.yaml").write_text((ROOT / "params.yaml").read_text() + "\ntypo: 1\n")
    assert call(repository, *MNIST, expect=2) == ""


def test_the_imagenet_flow_runs_what_its_axis_brings_in(repository: Path, on_server: str) -> None:
    assert call(repository, *IMAGENET, expect=2) == ""  # the axis is empty
    params = repository / "params.yaml"
    params.write_text(params.read_text().replace("imagenet: []", "imagenet: [tiny]"))
    assert call(repository, *IMAGENET).splitlines()[-1] == "2 ran"
    flow_run = last_run(on_server)
    assert flow_run["name"] == "imagenet: all stages"
    assert task_runs(on_server, flow_run) == dict.fromkeys(["check", "none tiny"], "Ran")


def test_a_terminated_flow_leaves_no_stage_behind(repository: Path, on_server: str) -> None:
    (repository / "stubborn.sh").write_text(STUBBORN)
    one_stage(repository, "stubborn", "sh stubborn.sh")
    with running(repository, *MNIST) as (process, log):
        wait_for(lambda: "pids " in log.read_text())
        process.terminate()
        process.wait(20)
        told = log.read_text().splitlines()
    assert_all_gone(repository, [line.partition(" - ")[2] for line in told if " - pids " in line])
    assert last_run(on_server)["state_type"] == "CRASHED"


def test_the_flow_needs_no_server(repository: Path) -> None:
    assert call(repository, *MNIST, "check").splitlines()[-1] == "1 ran"


def test_a_worker_runs_the_deployment_of_prefect_yaml(repository: Path, on_server: str) -> None:
    for package in ("cgn", "flows"):
        shutil.copytree(ROOT / package, repository / package, ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("PYTHONPATH")  # the deployed folder must do
        call(repository, *PREFECT, "work-pool", "create", "local", "--type", "process")
        call(repository, *PREFECT, "--no-prompt", "deploy", "--all")
        deployed = {one["name"] for one in ask(f"{on_server}/deployments/filter", limit=10)}
        assert deployed == {"mnist", "imagenet"}
        call(repository, *PREFECT, "deployment", "run", "mnist/mnist")
        with running(repository, *PREFECT, "worker", "start", "--pool", "local", "--run-once") as (worker, log):
            ended = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
            wait_for(lambda: last_run(on_server)["state_type"] in ended or worker.poll() not in (None, 0), 90)
            flow_run = last_run(on_server)
            assert flow_run["state_type"] == "COMPLETED", log.read_text()
    assert flow_run["name"] == "mnist: all stages"
    assert set(task_runs(on_server, flow_run).values()) == {"Ran"}
    assert (repository / "report.txt").exists()
