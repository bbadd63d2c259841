"""A repository whose stages take milliseconds, and programs in the background that are gone afterwards."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from isolation import ROOT

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
    cmd: cp checked none-${item.size}
    deps: [checked]
    outs: ["none-${item.size}"]
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


def call(cwd: Path, *words: str, expect: int = 0) -> str:
    """Standard output of a command; its standard error is in the message if it ends otherwise than expected."""
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == expect, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout


def repro(folder: Path) -> None:
    call(folder, sys.executable, "-m", "dvc", "repro", "--quiet")


def one_stage(folder: Path, name: str, command: str) -> None:
    (folder / "dvc.yaml").write_text(f"stages:\n  {name}:\n    cmd: {command}\n    outs: [{name}.txt]\n")


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


def assert_all_gone(folder: Path, lines: list[str]) -> None:
    pids = [int(word) for line in lines if line.startswith("pids ") for word in line.split()[1:]]
    assert len(pids) == 2
    assert not any(map(is_alive, pids))
    ticks = (folder / "ticks").stat().st_size
    time.sleep(0.3)
    assert (folder / "ticks").stat().st_size == ticks
