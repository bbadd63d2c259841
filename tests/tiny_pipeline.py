"""A project of seconds for tests: the repository's params.yaml with tiny budgets, and every stage's command line."""

import copy
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file

from stages import (
    ablate,
    build_dataset,
    build_in9,
    check,
    explain,
    explain_imagenet,
    fetch,
    fetch_backbone,
    fetch_images,
    fetch_judges,
    fetch_weights,
    generate,
    generate_imagenet,
    illustrate,
    illustrate_imagenet,
    measure,
    measure_imagenet,
    predict,
    predict_imagenet,
    report,
    report_imagenet,
    report_imagenet_classifiers,
    score,
    score_imagenet,
    sweep,
    train_classifier,
    train_generator,
    train_imagenet,
    train_imagenet_classifier,
    train_judges,
)

ROOT = Path(__file__).parents[1]
MODEL = "model.safetensors"


def write_params(folder: Path, change: Callable[[dict], None] = lambda params: None) -> Path:
    """params.yaml as in the repository, with budgets of seconds and limits that nothing misses."""
    params: dict[str, Any] = copy.deepcopy(YAML(typ="safe", pure=True).load(ROOT / "params.yaml"))
    params |= {
        "datasets_run": ["double_colored"],
        "classifiers": ["original"],
        "mixes": ["original_cf"],
        "ablate": {"generators": ["cgn"], "changes": ["no_binary"]},
        "compute": {"threads": 1, "precision": "bfloat16"},
    }
    params["runtime"] |= {"generate_workers": 1, "scratch": str(folder / "scratch")}
    params["generator"]["cgn"] |= {
        "sheet_every_steps": 5,
        "shape_width": 8,
        "texture_width": 8,
        "discriminator_width": 8,
        "collapse": {
            "after_share": 0.5,
            "mask_mean": [0.0, 1.0],
            "min_binary_share": 0.0,
            "max_border_mean": 1.0,
            "min_class_diversity": 0.0,
            "min_class_distance": 0.0,
            "max_class_roughness": 1.0,
        },
    }
    scale = params["scales"]["demo"]
    scale["fetch"]["num_validation"] = 3500
    for budget in ("generator", "classifier", "judge"):
        scale[budget]["num_images"] = 640
    scale["generate"] |= {"num_images": 120, "images_per_shard": 60}
    change(params)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "params.yaml").open("w") as file:
        YAML(typ="safe", pure=True).dump(params, file)
    return folder / "params.yaml"


CELLS = ("original", "cgn-original_cf")


class Project:
    """A folder with params.yaml, and the stages' command lines over it."""

    def __init__(self, root: Path, params: Path, real: Path | None = None) -> None:
        self.root, self.params, self.real = root, params, real or root / "real"
        self.environments = self.real.parent / "environments"

    def check(self) -> None:
        check.main(self._argv(out=self.root / "params-checked"))

    def fetch(self) -> None:
        fetch.main(self._argv(scale="demo", out=self.root / "raw"))

    def build_dataset(self) -> None:
        build_dataset.main(
            self._argv(
                scale="demo",
                dataset="double_colored",
                raw=self.root / "raw",
                out=self.real,
                environments=self.environments,
            )
        )

    def link_as_in_a_clone(self, folder: Path) -> None:
        """Give a folder data, generator, counterfactuals and params.yaml where dvc.yaml has them."""
        data = folder / "data"
        for link, target in {
            data / "raw" / "demo": self.root / "raw",
            data / "shards" / "demo" / "double_colored" / "real": self.real,
            data / "shards" / "demo" / "double_colored" / "cgn" / "0": self.root / "generated",
            data / "checkpoints" / "demo" / "double_colored" / "cgn" / "0": self.root / "checkpoints" / "cgn",
            folder / "params.yaml": self.params,
        }.items():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)

    def prepare(self) -> None:
        self.check()
        self.fetch()
        self.build_dataset()

    def generator_argv(self) -> list[str]:
        return self._argv(
            scale="demo",
            dataset="double_colored",
            generator="cgn",
            seed=0,
            real=self.real,
            out=self.root / "checkpoints" / "cgn",
            record=self.root / "records" / "cgn",
        )

    def train_generator(self) -> None:
        train_generator.main(self.generator_argv())

    def generate(self) -> None:
        checkpoint = self.root / "checkpoints" / "cgn"
        out = self.root / "generated"
        generate.main(
            self._argv(
                scale="demo",
                dataset="double_colored",
                generator="cgn",
                seed=0,
                real=self.real,
                checkpoint=checkpoint,
                out=out,
            )
        )

    def train_classifier(self, cell: str = "original") -> None:
        more = {"generated": self.root / "generated"} if "-" in cell else {"environments": self.environments}
        train_classifier.main(
            self._argv(
                scale="demo",
                method=cell.rsplit("-", maxsplit=1)[-1],
                seed=0,
                real=self.real,
                **more,
                out=self.root / "checkpoints" / cell,
                record=self.root / "records" / cell,
            )
        )

    def predict(self, cell: str) -> None:
        predictions = self.root / "predictions" / f"{cell}-0.parquet"
        checkpoint = self.root / "checkpoints" / cell
        sets = {"real": self.real, "environments": self.environments}
        predict.main(self._argv(seed=0, **sets, checkpoint=checkpoint, out=predictions))

    def score(self, cell: str) -> None:
        metrics = self.root / "metrics" / "double_colored" / f"{cell}-0.json"
        score.main(self._argv(predictions=self.root / "predictions" / f"{cell}-0.parquet", out=metrics))

    def train_judges(self) -> None:
        raw, out = self.root / "raw", self.root / "judges"
        train_judges.main(self._argv(scale="demo", dataset="double_colored", raw=raw, real=self.real, out=out))

    def measure(self) -> None:
        with pytest.MonkeyPatch.context() as fewer:
            fewer.setattr(measure, "_NUM_IMAGES", 500)  # of 2,000
            fewer.setattr(measure, "_BATCH", 250)
            measure.main(
                self._argv(
                    dataset="double_colored",
                    seed=0,
                    raw=self.root / "raw",
                    real=self.real,
                    judges=self.root / "judges",
                    checkpoint=self.root / "checkpoints" / "cgn",
                    record=self.root / "records" / "cgn",
                    out=self.root / "measured" / "double_colored" / "cgn" / "0",
                    metrics=self.root / "metrics" / "double_colored" / "quality" / "cgn-0.json",
                )
            )

    def explain(self) -> None:
        for cell in (one for one in CELLS if (self.root / "checkpoints" / one).is_dir()):  # as dvc.yaml lays them out
            (self.root / "classifiers" / cell).mkdir(parents=True, exist_ok=True)
            shutil.copytree(
                self.root / "checkpoints" / cell, self.root / "classifiers" / cell / "0", dirs_exist_ok=True
            )
        with pytest.MonkeyPatch.context() as fewer:  # of 100, 1,000 and 10
            fewer.setattr(explain, "_NUM_IMAGES", {"integrated_gradients": 20, "grad_cam": 100, "lime": 10})
            explain.main(
                self._argv(
                    dataset="double_colored",
                    raw=self.root / "raw",
                    real=self.real,
                    checkpoints=self.root / "classifiers",
                    out=self.root / "explained" / "double_colored",
                    metrics=self.root / "metrics" / "double_colored" / "explained.json",
                )
            )

    def sweep(self, *, images: int, ratio: int = 1, real: int = 0) -> Path:
        out = self.root / "sweep" / f"{images}-{ratio}-{real}.json"
        options = {"num-images": images, "cf-ratio": ratio, "real-percent": real}
        checkpoint = self.root / "checkpoints" / "cgn"
        sweep.main(
            self._argv(
                scale="demo",
                dataset="double_colored",
                seed=0,
                **options,
                real=self.real,
                checkpoint=checkpoint,
                out=out,
            )
        )
        return out

    def ablate(self, change: str = "no_binary", generator: str = "cgn") -> Path:
        name = f"{generator}-{change}"
        metrics = self.root / "metrics" / "double_colored" / "ablation" / f"{name}-0.json"
        ablate.main(
            self._argv(
                scale="demo",
                dataset="double_colored",
                generator=generator,
                change=change,
                seed=0,
                raw=self.root / "raw",
                real=self.real,
                out=self.root / "measured" / "double_colored" / "ablations" / name / "0",
                metrics=metrics,
            )
        )
        return metrics

    def illustrate(self) -> None:
        illustrate.main(
            self._argv(
                dataset="double_colored",
                real=self.real,
                generated=self.root / "generated",
                record=self.root / "records" / "cgn",
                out=self.root / "sheets" / "double_colored",
            )
        )

    def report(self) -> None:
        folders = {name: self.root / name for name in ("metrics", "sheets", "measured", "explained")}
        report.main(self._argv(scale="demo", **folders, out=self.root / "report"))

    def fetch_weights(self) -> None:
        fetch_weights.main(self._argv(scale="tiny", out=self.root / "weights"))

    def fetch_judges(self) -> None:
        fetch_judges.main(self._argv(scale="tiny", out=self.root / "judges-imagenet"))

    def train_imagenet(self) -> None:
        record = self.root / "records" / "imagenet-tiny" / "authors_code-unchanged" / "0"
        paths = {"out": self.root / "checkpoints" / "imagenet", "record": record}
        train_imagenet.main(self._imagenet_argv(recipe="authors_code", change="unchanged", **paths))

    def generate_imagenet(self) -> None:
        paths = {"checkpoint": self.root / "checkpoints" / "imagenet", "out": self.root / "generated-imagenet"}
        generate_imagenet.main(self._imagenet_argv(recipe="authors_code", change="unchanged", **paths))

    def illustrate_imagenet(self) -> None:
        sheets = self.root / "sheets" / "imagenet-tiny" / "authors_code-unchanged" / "0"
        paths = {"checkpoint": self.root / "checkpoints" / "imagenet", "out": sheets}
        illustrate_imagenet.main(self._imagenet_argv(**paths))

    def measure_imagenet(self) -> None:
        metrics = self.root / "metrics" / "imagenet-tiny" / "authors_code-unchanged-0.json"
        checkpoint = self.root / "checkpoints" / "imagenet"
        judges = self.root / "judges-imagenet"
        measure_imagenet.main(self._imagenet_argv(judges=judges, checkpoint=checkpoint, metrics=metrics))

    def report_imagenet(self) -> None:
        folders = {name: self.root / name / "imagenet-tiny" for name in ("metrics", "records", "sheets")}
        out = self.root / "report-imagenet"
        report_imagenet.main(self._argv(scale="tiny", weights=self.root / "weights", **folders, out=out))

    def fetch_images(self) -> None:
        fetch_images.main(self._argv(scale="tiny", out=self.root / "images"))

    def fetch_backbone(self) -> None:
        fetch_backbone.main(self._argv(scale="tiny", out=self.root / "backbone"))

    def build_in9(self) -> None:
        images, weights = self.root / "images", self.root / "weights"
        build_in9.main(self._argv(scale="tiny", images=images, weights=weights, out=self.root / "in9"))

    def train_imagenet_classifier(self) -> None:
        run = "imagenet-tiny-classifiers/published/0"
        paths = {
            "backbone": self.root / "backbone",
            "out": self.root / "checkpoints" / run,
            "record": self.root / "records" / run,
        }
        train_imagenet_classifier.main(self._argv(scale="tiny", seed=0, method="published", **self._natural(), **paths))

    def predict_imagenet(self) -> None:
        run = "imagenet-tiny-classifiers/published/0"
        paths = {"checkpoint": self.root / "checkpoints" / run, "out": self.root / "predictions" / run}
        predict_imagenet.main(self._argv(scale="tiny", seed=0, **self._natural(), **paths))

    def score_imagenet(self) -> None:
        predictions = self.root / "predictions/imagenet-tiny-classifiers/published/0"
        metrics = self.root / "metrics/imagenet-tiny-classifiers/published-0.json"
        score_imagenet.main(self._argv(seed=0, predictions=predictions, metrics=metrics))

    def explain_imagenet(self) -> None:
        checkpoints = self.root / "checkpoints/imagenet-tiny-classifiers"
        paths = {"checkpoints": checkpoints, "in9": self.root / "in9", "out": self.root / "explained" / "imagenet-tiny"}
        explain_imagenet.main(self._argv(scale="tiny", **paths))

    def report_imagenet_classifiers(self) -> None:
        metrics = self.root / "metrics/imagenet-tiny-classifiers"
        paths = {"explained": self.root / "explained" / "imagenet-tiny", "backbone": self.root / "backbone"}
        out = self.root / "report-imagenet-classifiers"
        report_imagenet_classifiers.main(self._argv(scale="tiny", metrics=metrics, **paths, out=out))

    def _natural(self) -> dict[str, object]:
        return {"images": self.root / "images", "in9": self.root / "in9"}

    def _imagenet_argv(self, **options: object) -> list[str]:
        return self._argv(scale="tiny", seed=0, weights=self.root / "weights", **options)

    def weights(self, cell: str) -> dict[str, torch.Tensor]:
        return load_file(self.root / "checkpoints" / cell / MODEL)

    def _argv(self, **options: object) -> list[str]:
        return [f"--{name}={value}" for name, value in {"params": self.params, **options}.items()]


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def same_weights(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
