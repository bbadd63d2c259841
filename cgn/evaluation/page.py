"""What the report's pages share: pictures inside the page, and templates with one style."""

import base64
import io
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined
from PIL import Image

from cgn.errors import InputError
from cgn.pictures import open_picture

PARTS = ("macros.html.j2", "style.css.j2")  # of every page


def _open(path: Path) -> Image.Image:
    if not path.is_file():
        raise InputError(f"report: found no {path}, expected a picture sheet; run `dvc repro`")
    return open_picture(
        path.read_bytes(), formats=["PNG"], what=f"report: {path}", remedy="delete its folder and run `dvc repro`"
    )


def _webp_uri(picture: Image.Image, *, lossless: bool) -> str:
    encoded = io.BytesIO()
    picture.save(encoded, "WEBP", lossless=lossless)
    return "data:image/webp;base64," + base64.b64encode(encoded.getvalue()).decode("ascii")


def data_uri(path: Path) -> str:
    """A PNG file as a data URI of the same pixels: WebP without loss, about two thirds of the bytes.

    Raises: InputError where the file is missing, damaged or something else.
    """
    return _webp_uri(_open(path), lossless=True)


def fitted_uri(path: Path, *, width: int) -> str:
    """The same of a picture no wider than so many pixels; a wider one is made smaller and loses detail.

    Raises: InputError likewise.
    """
    picture = _open(path)
    if picture.width <= width:
        return _webp_uri(picture, lossless=True)
    size = (width, round(picture.height * width / picture.width))
    return _webp_uri(picture.resize(size, Image.Resampling.LANCZOS), lossless=False)


def render(template: str, context: Mapping[str, Any]) -> str:
    """The HTML of a template beside this file; a name that it misses is an error."""
    folder = files("cgn.evaluation")
    sources = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in (template, *PARTS)}
    environment = Environment(
        loader=DictLoader(sources), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(context)
