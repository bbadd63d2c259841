"""What every stage's command line shares: options, threads, logging, exit codes and the outcome file."""

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, TypeVar

from cgn.config import ConfigError
from cgn.errors import InputError, one_line
from cgn.files import write_json
from stages.listing import listing

EXIT_FAILED = 1
EXIT_CONFIG = 2  # a wrong params.yaml or input: never retried
EXIT_TEMPORARY = 75  # a lock or an I/O fault: may be retried

CODE = Path("data/code")

log = logging.getLogger("stages")

Chosen = TypeVar("Chosen")


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the option that every stage has."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--params", type=Path, default=Path("params.yaml"))
    return options


def run(main: Callable[[], None]) -> None:
    """Run a stage as a process: log to standard error, turn errors into one line, an exit code and an outcome file.

    A bad configuration or input (InputError) ends with 2, an I/O fault (OSError) with 75, a missing input file with 2;
    anything else is a bug and keeps its traceback. The outcome goes to the file named by $CGN_OUTCOME, if any, because
    `dvc repro` itself ends with 255 whatever failed.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    started = time.monotonic()
    try:
        check_code(sys.modules["__main__"].__spec__)
        main()
    except (InputError, FileNotFoundError) as error:
        _end(EXIT_CONFIG, error)
    except OSError as error:
        _end(EXIT_TEMPORARY, error)
    except Exception as error:
        _write_outcome(EXIT_FAILED, error)
        raise
    _write_outcome(0, None)
    log.info("done in %.1f s", time.monotonic() - started)


def check_code(program: ModuleSpec | None) -> None:
    """See that a stage's code is still what the stage `code` listed, where it has, so that DVC writes down what was run.

    Raises: InputError where it is not.
    """
    stage = program.name.rpartition(".")[2] if program else ""
    if (CODE / stage).is_file() and (CODE / stage).read_text(encoding="utf-8") != listing(stage):
        raise InputError(f"{CODE / stage}: found other code than that of now, expected the same; run `dvc repro code`")


def _end(code: int, error: Exception) -> None:
    _write_outcome(code, error)
    log.error("error: %s", one_line(error))
    sys.exit(code)


def _write_outcome(code: int, error: Exception | None) -> None:
    if target := os.environ.get("CGN_OUTCOME"):
        field = error.field if isinstance(error, ConfigError) else ""
        write_json(Path(target), {"code": code, "cause": one_line(error) if error else "", "field": field})


def one_of(allowed: Mapping[Any, Chosen], name: str, option: str) -> Chosen:
    """What a command line's name stands for.

    Raises: InputError where there is no such name.
    """
    if name not in allowed:
        raise InputError(f"{option}: found {name!r}, allowed: {', '.join(sorted(allowed))}")
    return allowed[name]


Argv = Sequence[str] | None
