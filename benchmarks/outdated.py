"""Which results dvc.lock holds that other code or parameters made than those of now."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.common import CODE
from stages.listing import listing

MARK = "†"
_CHECKED = "data/params-checked"  # never changes: a stage's own params are compared
# Which cells there are decides none of them, nor where the same raw images come from.
_LISTS = {"classifiers", "datasets_run", "environments", "generators", "methods", "mixes", "seeds", "sweep", "ablate"}
_SOURCES = {"digits", "digits_path", "textures", "textures_path"}
_ROW = re.compile(r"`dvc ([^`]+)` \|$")


class Lock:
    """The stages of a dvc.lock, each held against today's lists of code, a params.yaml, and the stages that it depends on."""

    def __init__(self, lock: Path, params: Path) -> None:
        yaml = YAML(typ="safe")
        self._stages: dict[str, Any] = yaml.load(lock)["stages"]
        self._params: Mapping[str, Any] = yaml.load(params)
        self._known: dict[str, bool] = {}

    def outdated(self, stage: str) -> bool:
        """Whether code, parameters or inputs of the stage are others than it was run with, or it is not there."""
        if stage not in self._known:
            self._known[stage] = stage not in self._stages or self._differs(self._stages[stage])
        return self._known[stage]

    def seeds_of(self, stage: str) -> list[str]:
        """All stages that differ from this one in their seed, this one among them."""
        cell, _, seed = stage.rpartition("-")
        if not seed.isdigit():
            return [stage]
        return [stage, *(name for name in self._stages if name.rpartition("-")[0] == cell and name != stage)]

    @cached_property
    def _makers(self) -> dict[str, tuple[str, str]]:
        """Path of an output -> its stage and its hash."""
        return {
            out["path"]: (name, out["md5"]) for name, entry in self._stages.items() for out in entry.get("outs", ())
        }

    def _differs(self, entry: dict[str, Any]) -> bool:
        params = entry.get("params", {}).get("params.yaml", {})
        if any(_recipe(self._now(key)) != _recipe(value) for key, value in params.items() if key not in _LISTS):
            return True
        return any(self._dep_differs(dep, params) for dep in entry.get("deps", ()) if dep["path"] != _CHECKED)

    def _dep_differs(self, dep: dict[str, Any], params: dict[str, Any]) -> bool:
        path = Path(dep["path"])
        if path.parent == CODE:
            return bool(hashlib.md5(listing(path.name).encode(), usedforsecurity=False).hexdigest() != dep["md5"])
        if dep["path"] in self._makers:
            stage, md5 = self._makers[dep["path"]]
            return md5 != dep["md5"] or self.outdated(stage)
        inside = list(self._inside(path, params))  # none: a file of code, as locks had them before there were lists
        return not inside or any(map(self.outdated, inside))

    def _inside(self, folder: Path, params: dict[str, Any]) -> Iterator[str]:
        """The stages that filled a folder of checkpoints, of the experiments that the lists in `params` name. What of each a
        reader of the folder has seen, the lock does not know: once they are made anew, the reader passes for up to date.
        """
        mixed = (f"{generator}-{mix}" for generator in params.get("generators", ()) for mix in params.get("mixes", ()))
        for name in (*params.get("classifiers", ()), *mixed):
            path = str(folder / name / str(params["seeds"][0]))
            if path in self._makers:
                yield self._makers[path][0]

    def _now(self, key: str) -> Any:
        value: Any = self._params
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value


def _recipe(value: Any) -> Any:
    """A parameter's value, without the names of sources."""
    return {k: v for k, v in value.items() if k not in _SOURCES} if isinstance(value, Mapping) else value


def marked(page: str, lock: Lock) -> str:
    """A page of Markdown, whose table rows that end with the command of an outdated stage have a mark behind their name."""
    lines = []
    for line in page.split("\n"):
        row = _ROW.search(line)
        stages = [word for word in row[1].split() if "@" in word] if row else []
        old = any(lock.outdated(seed) for stage in stages for seed in lock.seeds_of(stage))
        lines.append(line.replace(" |", f" {MARK} |", 1) if old else line)
    return "\n".join(lines)
