"""What every stage's command line shares: options, threads, logging, exit codes and the outcome file."""

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cgn.config import ConfigError
from cgn.errors import InputError, one_line
from cgn.files import write_json

EXIT_FAILED = 1
EXIT_CONFIG = 2  # a wrong params.yaml or input: never retried
EXIT_TEMPORARY = 75  # a lock or an I/O fault: may be retried

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
