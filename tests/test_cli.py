"""Facts about the `cgn` command."""

import shutil
from pathlib import Path

import pytest
import torch

from cgn.cli import main
from cgn.contracts import Factors
from cgn.shards import Batch, write_shard_set

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_set(folder: Path) -> None:
    labels = torch.arange(3)
    batch = Batch(torch.zeros(3, 3, 32, 32, dtype=torch.uint8), labels, Factors(labels, labels, labels), labels > 5)
    write_shard_set(folder, name="colored", seed=0, splits={"train": batch}, images_per_shard=2)


def assert_ends_with_2(argv: list[str], capsys: pytest.CaptureFixture[str], *parts: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    for part in parts:
        assert part in error


def test_check_accepts_the_projects_params(capsys: pytest.CaptureFixture[str]) -> None:
    main(["check"])
    assert capsys.readouterr().out == "params.yaml: fine\n"


def test_check_names_the_wrong_field(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (project / "params.yaml").read_text().replace("generate_workers: 2", "generate_workers: 0")
    (project / "bad.yaml").write_text(text)
    assert_ends_with_2(["--params", "bad.yaml", "check"], capsys, "bad.yaml", "runtime.generate_workers", "found 0")


def test_check_says_that_the_file_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert_ends_with_2(["--params", "none.yaml", "check"], capsys, "none.yaml")


def test_verify_counts_the_images_of_whole_sets(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_set(project / "a")
    write_set(project / "b")
    main(["verify", "a", "b"])
    assert capsys.readouterr().out == "a: 3 images, whole\nb: 3 images, whole\n"


def test_verify_names_the_damaged_shard(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_set(project / "a")
    shard = project / "a" / "colored-train-000001.tar"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert_ends_with_2(["verify", "a"], capsys, shard.name, "truncated")


def test_verify_says_that_a_set_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert_ends_with_2(["verify", "nowhere"], capsys, "nowhere/manifest.parquet is missing")


def test_results_prints_the_table_and_the_reports_path(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = project / "data" / "report" / "demo"
    folder.mkdir(parents=True)
    (folder / "summary.txt").write_text("original 12.3 ± 0.4\n", encoding="utf-8")
    (folder / "index.html").write_text("<html></html>")
    main(["results"])
    assert capsys.readouterr().out == "original 12.3 ± 0.4\n\nreport: data/report/demo/index.html\n"


def test_results_says_what_to_run_before_there_is_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert_ends_with_2(["results"], capsys, "data/report/demo holds no report yet; run `dvc repro`")


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["polish"])
    assert "invalid choice" in capsys.readouterr().err
