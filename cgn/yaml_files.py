"""Reads a YAML file into a pydantic model; whatever is wrong with it becomes one line that names the field."""

import difflib
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent

from cgn.errors import InputError, one_line

Model = TypeVar("Model", bound=BaseModel)

MAX_BYTES = 1_000_000
MAX_DEPTH = 20  # the reader takes quadratic time, then fails, on thousands of open brackets

# pydantic's error type -> what is allowed; any other type keeps pydantic's own words
_ALLOWED = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "int_type": "a whole number",
    "invalid_key": "keys that are text",
    "list_type": "a list",
    "missing": "a value, because nothing is left out",
    "model_attributes_type": "a mapping",
    "model_type": "a mapping",
    "string_pattern_mismatch": "lower-case letters, digits and underscores, a letter first",
    "string_type": "text",
}
_SUBJECTS = ("Input", "List", "Dictionary", "String")
_SHORT = reprlib.Repr()
_SHORT.maxother = _SHORT.maxstring = 80


class ConfigError(InputError):
    """A file that cannot be used; `field` is the dotted path of the field at fault, where one is."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class _Fault(NamedTuple):
    field: str
    text: str


def read_model(path: Path, model: type[Model]) -> Model:
    """The file's contents as a `model`.

    Raises: ConfigError, one line that names the file, the field, what was found and what is allowed.
    """
    content = _parse(path)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # A misspelt key is both unknown and missing; the unknown one is what its author can see.
        unknown = ("extra_forbidden", "invalid_key")
        first = next((entry for entry in errors if entry["type"] in unknown), errors[0])
        field, text = _explain(first, model, content)
        raise ConfigError(_short_line(f"{path}: {field or 'top level'}: {text}"), field) from None


def _parse(path: Path) -> Any:
    """The file as mappings, lists and scalars: YAML 1.2, every value written out, every key once."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigError(f"{path}: found more than {MAX_BYTES:,} bytes, expected a short file")
        text = content.decode("utf-8")
        depth = 0
        for event in YAML(typ="safe", pure=True).parse(text):
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise ConfigError(f"{path}: found more than {MAX_DEPTH} levels of nesting, expected fewer")
            if getattr(event, "anchor", None) is not None:
                line = event.start_mark.line + 1
                raise ConfigError(
                    _short_line(f"{path}: line {line}: found anchor or alias {event.anchor!r}, write the value out")
                )
        parsed = YAML(typ="safe", pure=True).load(text)
    except ConfigError:
        raise
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1
        raise ConfigError(_short_line(f"{path}: line {line}: found a key twice, expected it once")) from error
    except MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark is not None else ""
        raise ConfigError(_short_line(f"{path}: {where}no valid YAML: {error.problem}")) from error
    except OSError as error:
        raise ConfigError(_short_line(f"{path}: cannot be read: {error.strerror or error}")) from error
    except (YAMLError, ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise ConfigError(_short_line(f"{path}: no valid YAML: {error}")) from error
    if not isinstance(parsed, dict):
        found = "an empty file" if parsed is None else f"a {type(parsed).__name__}"
        raise ConfigError(f"{path}: found {found} at the top level, expected a mapping")
    return parsed


def _explain(error: Any, model: type[BaseModel], content: Any) -> _Fault:
    """The field as it stands in the file, and the sentence about it."""
    kind, found = error["type"], _SHORT.repr(error["input"])
    context = error.get("ctx", {})
    parts = _parts_in_file(error["loc"], content, missing=kind == "missing")
    if kind == "extra_forbidden":
        known = sorted(_known_keys(model.model_json_schema(), parts[:-1], content))
        nearest = difflib.get_close_matches(parts[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"allowed: {', '.join(known)}"
        return _Fault(".".join(parts), f"found an unknown key, {hint}")
    if kind == "value_error":  # one of our own validators: "field: found ..."
        inner, _, text = str(context["error"]).partition(": ")
        return _Fault(".".join([*parts, inner]), text)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        parts = [*parts, str(context["discriminator"]).strip("'")]
        allowed = context.get("expected_tags", "one of the known names")
        found = repr(context["tag"]) if "tag" in context else "nothing"
        return _Fault(".".join(parts), f"found {found}, expected {allowed}")
    if kind == "missing":
        found = "nothing"
    message = error["msg"].partition(" after validation")[0]
    for subject in _SUBJECTS:
        message = message.removeprefix(f"{subject} should be ").removeprefix(f"{subject} should have ")
    return _Fault(".".join(parts), f"found {found}, expected {_ALLOWED.get(kind, message)}")


def _parts_in_file(loc: tuple[Any, ...], content: Any, *, missing: bool) -> list[str]:
    """The parts of pydantic's location that the file's author wrote: no union tags, class or function names."""
    parts = []
    for position, part in enumerate(loc):
        if isinstance(content, dict):
            keys = [key for key in content if key == part or str(key) == str(part)]
            if keys:
                content = content[keys[0]]
            elif not (missing and position == len(loc) - 1):
                continue
        elif isinstance(content, list) and isinstance(part, int) and part < len(content):
            content = content[part]
        else:
            continue
        parts.append(str(part))
    return parts


def _known_keys(schema: dict[str, Any], parts: list[str], content: Any) -> set[str]:
    """The keys that the model allows in the mapping at `parts`, by its JSON schema."""
    level = list(_members(schema, schema))
    for part in parts:
        level = [member for above in level for child in _children(above, part) for member in _members(child, schema)]
        if isinstance(content, dict):
            content = content.get(part)
    if isinstance(content, dict):  # of a union, the members whose tag stands in the file
        tagged = [member for member in level if _tag_matches(member, content)]
        level = tagged or level
    return {key for member in level for key in member.get("properties", {})}


def _members(schema: dict[str, Any], root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "$ref" in schema:
        yield from _members(root["$defs"][schema["$ref"].rsplit("/", 1)[-1]], root)
        return
    for union in ("anyOf", "oneOf"):
        for member in schema.get(union, []):
            yield from _members(member, root)
    yield schema


def _children(schema: dict[str, Any], part: str) -> Iterator[dict[str, Any]]:
    if part in schema.get("properties", {}):
        yield schema["properties"][part]
        return
    yield from schema.get("patternProperties", {}).values()
    for key in ("additionalProperties", "items"):
        if isinstance(schema.get(key), dict):
            yield schema[key]


def _tag_matches(schema: dict[str, Any], content: dict[str, Any]) -> bool:
    tags = {key: child["const"] for key, child in schema.get("properties", {}).items() if "const" in child}
    return bool(tags) and all(content.get(key) == tag for key, tag in tags.items())


def _short_line(message: str, limit: int = 400) -> str:
    line = one_line(message)
    return line if len(line) <= limit else f"{line[:limit]}..."
