"""Flows on a tiny repository: what DVC is asked, how stages end, that nothing outlives them, Prefect on loopback."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flows.dvc import DvcError, Outcome, Result, Stage, plan, run_stage
from flows.mnist import conclusion, summary, table

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.timeout(180)

PIPELINE = """
stages:
  check:
    cmd: cp input checked
    deps: [input]
    outs: [checked]
  make:
    matrix: {name: [b, a]}
    cmd: sh make.sh checked ${item.name} > made-${item.name}
    params: [seeds]
    deps: [make.sh, checked]
    outs: ["made-${item.name}"]
  train:
    matrix: {name: [a, b], seed: [0]}
    cmd: cp made-${item.name} trained-${item.name}-${item.seed}
    deps: ["made-${item.name}"]
    outs: ["trained-${item.name}-${item.seed}"]
  none:
    matrix: {size: "${imagenet}"}
    cmd: echo ${item.size}
  report:
    cmd: cat trained-b-0 trained-a-0 > report.txt
    deps: [trained-b-0, trained-a-0]
    metrics: [{report.txt: {cache: false}}]
"""
MAKE = "echo making $2 >&2\nsed s/word/$2/ $1\n"

# A stage with a child that only KILL ends; both tell their process ids.
STUBBORN = """
trap '' TERM
(while :; do echo x >> ticks; sleep 0.05; done) &
echo "pids $$ $!"
wait
"""
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


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep git, DVC and Prefect away from this user's own settings and caches."""
    folder = tmp_path_factory.getbasetemp() / "own"
    for name in ("SITE_CACHE", "GLOBAL_CONFIG", "SYSTEM_CONFIG"):
        monkeypatch.setenv(f"DVC_{name}_DIR", str(folder / name.lower()))
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    for name, value in {"DVC_NO_ANALYTICS": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PREFECT_HOME", str(folder / "prefect"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def make_repository(folder: Path, pipeline: str = PIPELINE) -> Path:
    folder.mkdir()
    for name in ("params.yaml", "prefect.toml", "prefect.yaml"):
        shutil.copy(ROOT / name, folder)
    (folder / "dvc.yaml").write_text(pipeline)
    (folder / "input").write_text("a word\n")
    (folder / "make.sh").write_text(MAKE)
    call(folder, "git", "init", "--quiet")
    call(folder, sys.executable, "-m", "dvc", "init", "--quiet")
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repository")


def call(cwd: Path, *words: str, expect: int = 0) -> str:
    """Standard output of a command; its standard error is in the message if it ends otherwise than expected."""
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == expect, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout


def repro(folder: Path) -> None:
    call(folder, sys.executable, "-m", "dvc", "repro", "--quiet")


def one_stage(folder: Path, name: str, command: str) -> None:
    (folder / "dvc.yaml").write_text(f"stages:\n  {name}:\n    cmd: {command}\n    outs: [{name}.txt]\n")


def run(folder: Path, name: str, deadline_seconds: float = 60) -> tuple[Result, list[str]]:
    lines: list[str] = []
    result = run_stage(name, on_line=lines.append, deadline_seconds=deadline_seconds, grace_seconds=0.3, repo=folder)
    return result, lines


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_for(ready: Callable[[], Any], seconds: float = 60) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := ready():
            return value
        time.sleep(0.1)
    raise AssertionError(f"nothing happened within {seconds} s")


@contextmanager
def running(folder: Path, *words: str, log: str = "log") -> Iterator[tuple[subprocess.Popen, Path]]:
    """A program in the background and the file of its output; its whole group is gone afterwards."""
    with (folder / log).open("w") as file:
        process = subprocess.Popen(words, cwd=folder, stdout=file, stderr=file, start_new_session=True)
    try:
        yield process, folder / log
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(15)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        process.wait()


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


def assert_all_gone(folder: Path, lines: list[str]) -> None:
    pids = [int(word) for line in lines if line.startswith("pids ") for word in line.split()[1:]]
    assert len(pids) == 2
    assert not any(map(is_alive, pids))
    ticks = (folder / "ticks").stat().st_size
    time.sleep(0.3)
    assert (folder / "ticks").stat().st_size == ticks


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


# ---- words


def test_a_run_is_told_in_a_table_and_one_line() -> None:
    results = [
        Result("check", Outcome.SKIPPED),
        Result("train@1", Outcome.FAILED, 2.5, 2, "seeds: found -1 | expected 0"),
        Result("report", Outcome.BLOCKED, cause="needs train@1, which failed"),
    ]
    assert conclusion(results) == "1 unchanged, 1 failed, 1 not run; train@1: seeds: found -1 | expected 0"
    assert summary(results).splitlines()[3] == "| train@1 | failed | 2.5 | seeds: found -1 \\| expected 0 |"
    assert table(results).splitlines()[2] == "report   not run        0.0 s  needs train@1, which failed"


# ---- Prefect


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


PREFECT = (sys.executable, "-m", "prefect")
MNIST = (sys.executable, "-m", "flows.mnist")


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


def test_a_target_without_stages_fails_the_flow_in_one_line(repository: Path, on_server: str) -> None:
    assert call(repository, *MNIST, "none", expect=1) == ""
    assert "found 'none', which names no stage" in last_run(on_server)["state"]["message"]


def test_wrong_parameters_end_the_flow_before_it_starts(repository: Path) -> None:
    (repository / "params.yaml").write_text((ROOT / "params.yaml").read_text() + "\ntypo: 1\n")
    assert call(repository, *MNIST, expect=2) == ""


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
    for file in (
        "flows/__init__.py",
        "flows/dvc.py",
        "flows/mnist.py",
        "cgn/__init__.py",
        "cgn/config.py",
        "cgn/yaml_files.py",
    ):
        (repository / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, repository / file)
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("PYTHONPATH")  # the deployed folder must do
        call(repository, *PREFECT, "work-pool", "create", "local", "--type", "process")
        call(repository, *PREFECT, "--no-prompt", "deploy", "--all")
        call(repository, *PREFECT, "deployment", "run", "mnist/mnist")
        with running(repository, *PREFECT, "worker", "start", "--pool", "local", "--run-once") as (worker, log):
            ended = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
            wait_for(lambda: last_run(on_server)["state_type"] in ended or worker.poll() not in (None, 0), 90)
            flow_run = last_run(on_server)
            assert flow_run["state_type"] == "COMPLETED", log.read_text()
    assert flow_run["name"] == "mnist: all stages"
    assert set(task_runs(on_server, flow_run).values()) == {"Ran"}
    assert (repository / "report.txt").exists()
