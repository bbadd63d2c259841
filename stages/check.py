"""Validate the whole of params.yaml before any output is touched."""

import argparse
from pathlib import Path

from cgn.config import ConfigError, load_params
from cgn.files import replacing_file
from stages.common import Argv, parser, run


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write a constant: everything depends on this stage, nothing on what it writes."""
    args = parse(argv)
    params = load_params(args.params)
    for name in params.generators:
        if (weights := getattr(params.generator[name], "vgg_weights", None)) and not Path(weights).is_file():
            field = f"generator.{name}.vgg_weights"
            what = "expected VGG16 weights; set it to the path of torchvision's vgg16-397923af.pth"
            raise ConfigError(f"{args.params}: {field}: found no file at {weights!r}, {what}", field)
    with replacing_file(args.out) as beside:
        beside.write_text("checked\n")


if __name__ == "__main__":
    run(main)
