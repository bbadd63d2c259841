"""The `cgn` command; the only module of the library that prints, parses arguments or exits."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cgn.config import check_params, load_params
from cgn.data.imagenet_classes import released_names
from cgn.errors import InputError, one_line
from cgn.shards import verify_shard_set
from cgn.shards.mixes import is_mixes, verify_mixes
from cgn.shards.released import export_mixes


def main(argv: Sequence[str] | None = None) -> None:
    """Run one subcommand; a bad file or configuration ends with one line and exit code 2."""
    options = argparse.ArgumentParser(prog="cgn", description="Look at what the pipeline needs and makes.")
    options.add_argument("--params", type=Path, default=Path("params.yaml"))
    commands = options.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="validate params.yaml, and that what it points to is there")
    commands.add_parser("results", help="print the results table and the report's path")
    verify = commands.add_parser("verify", help="prove that shard sets are whole")
    verify.add_argument("folders", nargs="+", type=Path)
    export = commands.add_parser("export", help="write ImageNet-9's mixes in the layout of the Backgrounds Challenge")
    export.add_argument("mixes", type=Path, help="the shard set, such as data/in9/full")
    export.add_argument("target", type=Path, help="a folder that is not there yet")
    export.add_argument("--part", default="val", choices=("train", "val"))
    args = options.parse_args(argv)
    try:
        if args.command == "check":
            check_params(args.params)
            print(f"{args.params}: fine")
        elif args.command == "results":
            print(_results(Path("data/report") / load_params(args.params).scale))
        elif args.command == "export":
            num_files = export_mixes(args.mixes, args.target, args.part, released_names())
            print(f"{args.target}: {num_files} files")
        else:
            for folder in args.folders:
                num_images = verify_mixes(folder) if is_mixes(folder) else verify_shard_set(folder)
                print(f"{folder}: {num_images} images, whole")
    except (InputError, OSError) as error:
        sys.stderr.write(f"error: {one_line(error)}\n")
        sys.exit(2)


def _results(folder: Path) -> str:
    summary, page = folder / "summary.txt", folder / "index.html"
    if not summary.is_file() or not page.is_file():
        raise InputError(f"{folder} holds no report yet; run `dvc repro`")
    return f"{summary.read_text(encoding='utf-8')}\nreport: {page}"


if __name__ == "__main__":
    main()
