"""Work that goes on in several processes, or in this one, with the same results."""

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Protocol, TypeVar

log = logging.getLogger(__name__)

Job = TypeVar("Job")
Result = TypeVar("Result")

_SAY_EVERY_SECONDS = 30.0
_WAITING = 4  # jobs per process that are under way or done and not yet taken: what results may take of the memory


class Workers(Protocol):
    """Runs a function of a module on jobs and yields what it returns, in their order; `what` is for the log."""

    def __call__(self, work: Callable[[Job], Result], jobs: Sequence[Job], what: str) -> Iterator[Result]: ...


@contextmanager
def workers(num: int, prepare: Callable[[], None]) -> Iterator[Workers]:
    """As many processes, each of which begins with `prepare`; one is this process itself, which stays as it is."""
    if num == 1:
        yield lambda work, jobs, what: _told((work(job) for job in jobs), len(jobs), what)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num, mp_context=spawn, initializer=_begin, initargs=(os.getpid(), prepare)) as pool:

        def run(work: Callable[[Job], Result], jobs: Sequence[Job], what: str) -> Iterator[Result]:
            return _told(_ordered(pool, num * _WAITING, work, jobs), len(jobs), what)

        try:
            yield run
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _ordered(
    pool: ProcessPoolExecutor, at_most: int, work: Callable[[Job], Result], jobs: Sequence[Job]
) -> Iterator[Result]:
    """Results in the jobs' order, so many ahead of who takes them."""
    waiting: list[Future[Result]] = []
    rest = iter(jobs)
    waiting += [pool.submit(work, job) for job in islice(rest, at_most)]
    while waiting:
        result = waiting.pop(0).result()
        waiting += [pool.submit(work, job) for job in islice(rest, 1)]
        yield result


def _told(results: Iterator[Result], total: int, what: str) -> Iterator[Result]:
    """The same results, with a line in the log now and then."""
    said = time.monotonic()
    for number, result in enumerate(results, start=1):
        yield result
        if time.monotonic() - said > _SAY_EVERY_SECONDS:
            log.info("%s: %d of %d", what, number, total)
            said = time.monotonic()


def _begin(parent: int, prepare: Callable[[], None]) -> None:
    """Prepare this process, and end it soon after its parent is gone, however that died: no orphan writes on."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    prepare()
