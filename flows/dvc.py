"""DVC behind a few functions, what there is to do and doing one stage of it: the only place that starts a process."""

import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cgn.errors import InputError

DVC = (sys.executable, "-m", "dvc", "--wait-for-lock")
GRACE_SECONDS = 5.0  # between TERM and KILL
POLL_SECONDS = 0.05
# What DVC says after every stage, and nobody wants to read fifty times.
ADVICE = re.compile(
    r"\s*$|To (track|enable) .*, run:$|\s+(git add|dvc config core\.autostage) |Use `dvc push` |\w+ing lock file "
)
INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


class DvcError(RuntimeError):
    """DVC could not say what there is to do."""


class Outcome(StrEnum):
    """How a stage ended."""

    SKIPPED = "unchanged"
    RESTORED = "restored"  # from DVC's run cache
    RAN = "ran"
    FAILED = "failed"
    BLOCKED = "not run"  # because something that it needs failed


@dataclass(frozen=True)
class Stage:
    """One expanded stage of dvc.yaml."""

    name: str
    needs: tuple[str, ...]  # the stages whose outputs it reads
    stale: bool  # differs from dvc.lock by itself, whatever the stages before it do

    @property
    def title(self) -> str:
        """The name for people: `train_generator demo colored cgn seed 0`."""
        group, _, axes = self.name.partition("@")
        return " ".join([group, *(f"seed {axis}" if axis.isdigit() else axis for axis in axes.split("-") if axis)])


@dataclass(frozen=True)
class Result:
    """What became of one stage."""

    stage: str
    outcome: Outcome
    seconds: float = 0.0
    code: int = 0  # the stage's own exit code where it told one, else DVC's
    cause: str = ""
    field: str = ""  # of params.yaml, where a wrong one is the cause


def groups_over(axis: str, *, repo: Path = Path()) -> frozenset[str]:
    """The groups of dvc.yaml whose matrix is over an axis of params.yaml, whether it brings in a stage or none.

    Raises: DvcError where dvc.yaml cannot be read.
    """
    path = repo / "dvc.yaml"
    try:
        stages = YAML(typ="safe", pure=True).load(path)["stages"]
        return frozenset(name for name in stages if f"${{{axis}}}" in stages[name].get("matrix", {}).values())
    except (OSError, YAMLError, KeyError, TypeError, AttributeError) as error:
        raise DvcError(f"{path} cannot be read ({type(error).__name__}: {error}); `dvc repro` says more") from error


def plan(
    targets: Sequence[str] = (), *, admits: Callable[[str], bool] = lambda _: True, repo: Path = Path()
) -> tuple[Stage, ...]:
    """The named stages and all that they need, in the order in which `dvc repro` runs them; without names, everything.

    A name is a stage (`train@a-0`) or all stages of a group (`train`). Everything, and what names may name, are the groups that
    `admits` says yes to, and what those need.

    Raises: InputError for a name without stages, which `dvc repro` would take for "everything"; DvcError where DVC
    cannot read the pipeline.
    """
    needs = _needs(_ask(repo, "dag", "--dot"))
    known = _with_needs([name for name in needs if admits(name.partition("@")[0])], needs)
    wanted = {name for target in targets or known for name in _stages_of(target, known)}
    # Forced and dry: DVC lists all stages in its own order, compares nothing, changes nothing.
    order = re.findall(r"^Running stage '(.+)':$", _ask(repo, "repro", "--dry", "--force"), re.MULTILINE)
    if not order:
        raise DvcError(f"found no stage in {repo / 'dvc.yaml'}, expected at least one")
    wanted = set(_with_needs(wanted, needs))
    changed = json.loads(_ask(repo, "status", "--json"))
    return tuple(
        Stage(name, tuple(need for need in needs[name] if need in order), stale=name in changed)
        for name in order
        if name in wanted
    )


def run_stage(
    name: str,
    *,
    on_line: Callable[[str], None],
    deadline_seconds: float,
    grace_seconds: float = GRACE_SECONDS,
    repo: Path = Path(),
) -> Result:
    """Let DVC bring one stage up to date, and say how that ended; `on_line` gets each line of the log as it comes.

    Whatever happens here (deadline, an error in `on_line`, SIGTERM or Ctrl-C in the main thread), no process of the
    stage is left when this returns or raises.
    """
    started = time.monotonic()
    process: subprocess.Popen[bytes] | None = None
    told: Outcome | None = None
    complaint = ""
    with tempfile.TemporaryDirectory(prefix="stage-") as folder, _sigterm_raises():
        report = Path(folder) / "outcome.json"
        try:
            with _interrupts_held():
                process = subprocess.Popen(
                    [*DVC, "repro", "--single-item", name],
                    cwd=repo,
                    env={**_environment(), "CGN_OUTCOME": str(report)},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            for line in _lines(process, started + deadline_seconds):
                told = told or _sign(name, line)
                complaint = _complaint(name, line) or complaint
                if not ADVICE.match(line):
                    on_line(line)
            code = process.poll()
        finally:
            if process is not None:
                with _interrupts_held():
                    _end_group(process, grace_seconds)
        reported = _read_report(report)
    seconds = time.monotonic() - started
    if code is None:
        cause = f"stopped at its deadline of {deadline_seconds:g} s; raise the flow's timeout in `runtime` of params.yaml if it needs more"
        return Result(name, Outcome.FAILED, seconds, process.returncode, cause)
    if code:
        cause = reported["cause"] or complaint or f"dvc ended with exit code {code}"
        return Result(name, Outcome.FAILED, seconds, reported["code"] or code, cause, reported["field"])
    return Result(name, told or Outcome.RAN, seconds)


def _environment() -> dict[str, str]:
    """Our own, with this Python's programs first: stages say `python` and mean the one that runs here."""
    programs = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": os.pathsep.join([programs, os.environ.get("PATH", os.defpath)])}


def _ask(repo: Path, *words: str) -> str:
    done = subprocess.run([*DVC, *words], cwd=repo, env=_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.strip()]
        raise DvcError(f"`dvc {' '.join(words)}` failed: {' '.join(errors) or f'exit code {done.returncode}'}")
    return done.stdout


def _needs(dot: str) -> dict[str, tuple[str, ...]]:
    """What each stage needs, from the graph in DOT: a line per stage, a line per arrow."""
    needs: dict[str, tuple[str, ...]] = {}
    for source, user in re.findall(r'^"([^"]+)"(?: -> "([^"]+)")?;$', dot, re.MULTILINE):
        needs.setdefault(source, ())
        if user:
            needs[user] = (*needs.get(user, ()), source)
    return needs


def _with_needs(names: Iterable[str], needs: Mapping[str, Sequence[str]]) -> list[str]:
    """The stages and all that they need, in the order of `needs`."""
    found: set[str] = set()
    new = set(names)
    while new:
        found |= new
        new = {need for name in new for need in needs[name]} - found
    return [name for name in needs if name in found]


def _stages_of(target: str, known: Sequence[str]) -> list[str]:
    names = [name for name in known if target in (name, name.partition("@")[0])]
    if not names:
        groups = ", ".join(sorted({name.partition("@")[0] for name in known}))
        raise InputError(
            f"targets: found {target!r}, which names no stage of this flow that params.yaml makes; "
            f"expected one of `dvc stage list --name-only`, or one of these groups: {groups}"
        )
    return names


def _sign(name: str, line: str) -> Outcome | None:
    """What DVC says that it does with the stage, if this is the line that says so."""
    return {
        f"Stage '{name}' didn't change, skipping": Outcome.SKIPPED,
        f"Stage '{name}' is cached - skipping run, checking out outputs": Outcome.RESTORED,
        f"Running stage '{name}':": Outcome.RAN,
    }.get(line)


def _complaint(name: str, line: str) -> str:
    """What DVC says that went wrong, if this line does."""
    return line.removeprefix("ERROR: ").removeprefix(f"failed to reproduce '{name}': ") if line[:7] == "ERROR: " else ""


def _read_report(path: Path) -> dict[str, Any]:
    """What the stage wrote to $CGN_OUTCOME; nothing, where it died before that or is no program of ours."""
    reported = {}
    with contextlib.suppress(OSError, ValueError):
        reported = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(reported, dict):
        reported = {}
    return {"code": 0, "cause": "", "field": "", **reported}


def _lines(process: subprocess.Popen[bytes], deadline: float) -> Iterator[str]:
    """The lines that a process writes, until it has ended or the deadline (on the monotonic clock) has passed."""
    assert process.stdout is not None
    rest = b""
    with process.stdout as stream, selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            if selector.get_map() and selector.select(POLL_SECONDS):
                read = os.read(stream.fileno(), 1 << 16)
                *whole, rest = (rest + read).split(b"\n")
                yield from map(_text, whole)
                if not read:  # every writer has closed it
                    selector.unregister(stream)
            elif process.poll() is not None:  # a leftover of the stage may hold the pipe open: do not wait for it
                break
            elif not selector.get_map():
                time.sleep(POLL_SECONDS)
    if rest:
        yield _text(rest)


def _text(line: bytes) -> str:
    return line.decode("utf-8", errors="replace").rstrip()


def _end_group(process: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """End every process of the stage's group: TERM, some patience, KILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not _reaches(process, number):
            break
        until = time.monotonic() + grace_seconds
        while _reaches(process, 0) and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
    process.wait()


def _reaches(process: subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal (0: none) to the process's group; false if nobody is left in it."""
    process.poll()  # an ended leader counts as a member until it is collected
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Deliver SIGINT and SIGTERM after the block: amid a start they would lose the child, amid an end its KILL."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is ever interrupted
        return
    arrived: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)

    before = {number: signal.signal(number, note) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for late in arrived:
            signal.raise_signal(late)


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Make SIGTERM an exception, as Ctrl-C is: by default it ends Python without a `finally`. Prefect's own stays."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
