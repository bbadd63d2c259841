"""What params.yaml may hold, and the one line that names what it may not."""

import copy
import random
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML

from cgn.config import ConfigError, Params, check_params, load_params
from cgn.yaml_files import MAX_BYTES, read_model

PARAMS = Path(__file__).parent.parent / "params.yaml"
TEXT = PARAMS.read_text(encoding="utf-8")
YAML_SAFE = YAML(typ="safe", pure=True)
CONTENT: dict[str, Any] = YAML_SAFE.load(TEXT)
INTERNAL = (
    "pydantic",
    "Value error",
    "Config'",
    "FastCgn",
    "AuthorsCgn",
    "_authors.authors_code.",
    "function-",
    "[key]",
    "tagged-union",
    "Input ",
    "instance of",
    "after validation",
)


def load(folder: Path, text: str) -> Params:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return load_params(path)


def refused(folder: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(folder / "params.yaml"))
    assert not any(word in message for word in INTERNAL), message
    return caught.value


def changed(*path: Any, to: Any) -> str:
    """params.yaml with one value replaced."""
    first = path[0]
    inner = content = {first: copy.deepcopy(CONTENT.get(first))}
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = to
    return "".join(section(name) for name in CONTENT if name != first) + dumped(content)


@cache
def section(name: str) -> str:
    """A section of params.yaml: writing all of them takes long."""
    return dumped({name: CONTENT[name]})


def dumped(content: Any) -> str:
    yaml, stream = YAML(typ="safe", pure=True), StringIO()
    yaml.default_flow_style = False  # else a section that is one value comes in braces, and nothing can follow it
    yaml.dump(content, stream)
    return stream.getvalue()


def test_the_params_file_of_the_project_is_valid() -> None:
    params = load_params(PARAMS)
    assert set(params.scales) == {"demo", "full"}


@pytest.mark.parametrize("spelling", ["1e-3", "1E-3", "1.0e-3", ".001", "0.001", "+1e-3"])
def test_every_spelling_of_a_float_is_read_as_a_float(tmp_path: Path, spelling: str) -> None:
    params = load(tmp_path, TEXT.replace("lr: 0.002", f"lr: {spelling}"))
    assert params.generator["cgn"].lr == 0.001


def test_whole_numbers_are_accepted_where_floats_are_expected(tmp_path: Path) -> None:
    assert load(tmp_path, changed("datasets", "colored", "color_std", to=0)).datasets.colored.color_std == 0


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("generator", "cgn", "lr"), -1.0, "found -1.0, expected greater than 0"),
        (("generator", "cgn", "lr"), float("nan"), "found nan, expected a finite number"),
        (("generator", "cgn", "lr"), float("inf"), "found inf, expected a finite number"),
        (("generator", "cgn", "lr"), "fast", "found 'fast', expected a number"),
        (("generator", "cgn", "lr"), True, "found True, expected a number"),
        (("generator", "cgn", "collapse", "mask_mean", 1), 2, "expected less than or equal to 1"),
        (("generator", "cgn", "collapse"), 3, "found 3, expected a mapping"),
        (("datasets", "colored", "correlation"), 0.05, "expected greater than or equal to 0.1"),
        (("scales", "demo", "generator", "num_images"), 1.5, "found 1.5, expected a whole number"),
        (("scales", "demo", "fetch", "digits"), "disk", "found 'disk', expected 'bundled', 'path' or 'download'"),
        (("scales", "demo", "fetch"), None, "found None, expected a mapping"),
        (("seeds", 0), -1, "found -1, expected greater than or equal to 0"),
        (("seeds",), [], "found [], expected at least 1 item"),
        (("generator", "real"), CONTENT["generator"]["cgn"], "found 'real', which the real shards are called"),
        (("generator", "oracle"), CONTENT["generator"]["cgn"], "found 'oracle', which a method is called"),
        (
            ("scales", "demo", "fetch", "num_validation"),
            505,
            "expected a multiple of 10 below 4,000, because digits is",
        ),
        (("scales", "full", "fetch", "num_validation"), 50_000, "expected a multiple of 1 below 50,000"),
        (("generators",), [], "found [], expected at least 1 item"),
        (("imagenet",), ["huge"], "found 'huge', allowed: full, mini, tiny"),
        (("generator", "cgn", "collapse", "mask_mean"), [0.5, 0.1], "found [0.5, 0.1], expected the lowest and then"),
        (("seeds",), 0, "found 0, expected a list"),
        (("seeds",), [1, 1], "found [1, 1], expected every entry once"),
        (("scale",), "huge", "found 'huge', expected 'demo' or 'full'"),
        (("classifiers",), ["missing_one"], "found 'missing_one', allowed: cf_only, cf_only_background, "),
        (("classifiers",), ["cf_only"], "found 'cf_only', which mixes in generated images; list it under `mixes`"),
        (("mixes",), ["oracle"], "found 'oracle', which uses no generated images"),
        (
            ("mixes",),
            ["cf_only_background"],
            "tells backgrounds, beside colored in `datasets_run`, whose background has no",
        ),
        (("methods", "oracle", "mix"), {}, "found {}, expected at least 1 item"),
        (("methods", "oracle", "mix", "env_80"), 1.0, "expected 'train', 'unbiased', 'generated', 'env_90'"),
        (("methods", "oracle", "mix", "unbiased"), 1e308, "found 1e+308, expected less than or equal to 1000000"),
        (("runtime", "scratch"), "", "found '', expected at least 1 character"),
        (("methods", "original", "label"), "texture", "found 'texture' for a mix of train, expected 'shape'"),
        (("methods", "oracle", "label"), "colour", "found 'colour', expected 'shape', 'texture' or 'background'"),
        (("methods", "irm_2", "mix"), {"train": 1.0}, "found ['train'], expected at least two splits to compare"),
        (("methods", "lff", "rule"), "magic", "found 'magic', expected 'erm', 'irm', 'group_dro', 'lntl', 'lff'"),
        (("generator", "cgn", "recipe"), "slow", "found 'slow', expected 'fast', 'authors_code'"),
        (("generator", "cgn_authors", "vgg_sha256"), "abc", "found 'abc', expected 8 to 64 digits 0-9a-f"),
        (("generator", "cgn_authors", "betas", 0), 1.0, "found 1.0, expected less than 1"),
        (("generator", "cgn_authors", "datasets", "colored", "style_weights"), [0.1], "expected at least 4 items"),
        (("generator", "cgn_authors", "datasets", "wildlife", "discriminator"), "big", "expected 'linear' or 'conv'"),
        (("classifier", "plain_area_lr_share", "wildlife"), 1.5, "found 1.5, expected less than or equal to 1"),
        (
            ("classifier", "plain_area_lr_share"),
            {"colored": 1.0},
            "found none of double_colored, wildlife, expected one per",
        ),
        (("compute", "precision"), "float16", "expected 'float32' or 'bfloat16'"),
    ],
)
def test_a_bad_value_names_its_field_what_was_found_and_what_is_allowed(
    tmp_path: Path, path: tuple[Any, ...], value: Any, says: str
) -> None:
    error = refused(tmp_path, changed(*path, to=value))
    field = ".".join(str(part) for part in path)
    assert error.field == field
    assert f": {field}: " in str(error)
    assert says in str(error)


@pytest.mark.parametrize("kind", ["digits", "textures"])
def test_a_folder_that_is_named_and_not_there_is_refused_before_anything_runs(tmp_path: Path, kind: str) -> None:
    content = copy.deepcopy(CONTENT)
    fetch = content["scales"]["demo"]["fetch"]
    fetch |= {kind: "path", f"{kind}_path": str(tmp_path / "nowhere")}
    content["scales"]["full"]["fetch"] |= {"digits": "path", "digits_path": "not/on/this/machine"}
    (tmp_path / "params.yaml").write_text(dumped(content))
    with pytest.raises(
        ConfigError, match=f"found no folder at '.*nowhere', expected the one with the {kind}"
    ) as caught:
        check_params(tmp_path / "params.yaml")
    assert caught.value.field == f"scales.demo.fetch.{kind}_path"
    (tmp_path / "nowhere").mkdir()
    assert check_params(tmp_path / "params.yaml").scale == "demo"  # the other scale's folders do not matter


@pytest.mark.parametrize(
    ("parent", "key", "nearest"),
    [
        ((), "sedes", "seeds"),
        (("generator", "cgn"), "learning_lr", None),
        (("generator", "cgn"), "lambda_bord", "lambda_border"),
        (("scales", "demo", "fetch"), "digits_pth", "digits_path"),
        (("compute",), "thread", "threads"),
    ],
)
def test_an_unknown_key_suggests_the_nearest_known_one(
    tmp_path: Path, parent: tuple[str, ...], key: str, nearest: str | None
) -> None:
    error = refused(tmp_path, changed(*parent, key, to=1))
    assert error.field == ".".join([*parent, key])
    assert "unknown key" in str(error)
    assert (f"did you mean {nearest!r}?" if nearest else "allowed: ") in str(error)


def test_a_misspelt_key_is_reported_before_the_key_that_it_leaves_missing(tmp_path: Path) -> None:
    error = refused(tmp_path, TEXT.replace("ema_decay:", "ema_dekay:"))
    assert error.field == "generator.cgn.ema_dekay"
    assert "did you mean 'ema_decay'?" in str(error)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    error = refused(tmp_path, TEXT.replace("    latent: 16\n", ""))
    assert error.field == "generator.cgn.latent"
    assert "found nothing" in str(error)


def test_a_name_that_could_break_a_path_or_a_command_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path, changed("methods", "../rm -rf", to=CONTENT["methods"]["oracle"]))
    assert "lower-case letters" in str(error)
    assert error.field == "methods.../rm -rf"


def test_a_path_source_without_a_path_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path, changed("scales", "demo", "fetch", "digits", to="path"))
    assert error.field == "scales.demo.fetch.digits_path"
    assert "found nothing, expected a folder" in str(error)


@pytest.mark.parametrize("path", [None, ""])
def test_the_authors_recipe_is_refused_without_weights_only_where_it_would_run(
    tmp_path: Path, path: str | None
) -> None:
    content = copy.deepcopy(CONTENT)
    content["generator"]["cgn_authors"]["vgg_weights"] = path
    load(tmp_path, dumped(content))
    content["generators"].append("cgn_authors")
    error = refused(tmp_path, dumped(content))
    assert error.field == "generator.cgn_authors.vgg_weights"
    assert "found nothing, expected the path of torchvision's vgg16-397923af.pth" in str(error)
    content["generator"]["cgn_authors"]["vgg_weights"] = "somewhere/vgg16.pth"
    assert load(tmp_path, dumped(content)).generators == ["cgn", "cgn_authors"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"lambda_binry": 0.0}, "lambda_binry: found an unknown key, allowed: batch_size, "),
        ({"lambda_binary": -1.0}, "found -1.0, input should be greater than or equal to 0"),
        ({"recipe": "magic"}, "recipe: found 'magic', expected another field: this one is not ablated"),
        ({"inference_after_share": 0.9}, "found 0.9, expected less than 0.5, after which"),
    ],
)
def test_a_change_that_a_generator_cannot_have_is_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    content = copy.deepcopy(CONTENT)
    content["ablation"]["no_binary"] = change
    load(tmp_path, dumped(content))  # it is not asked for
    content["ablate"]["generators"] = ["cgn"]
    error = refused(tmp_path, dumped(content))
    assert error.field.startswith("ablation.no_binary")
    assert says in str(error)


def test_a_method_needs_the_environments_that_it_learns_from(tmp_path: Path) -> None:
    content = copy.deepcopy(CONTENT)
    content["classifiers"].append("irm_2")
    assert "irm_2" in load(tmp_path, dumped(content)).classifiers
    content["environments"] = ["env_95", "env_100"]
    error = refused(tmp_path, dumped(content))
    assert error.field == "classifiers"
    assert "found 'irm_2', which learns from env_90; add it to `environments`" in str(error)


@pytest.mark.parametrize(
    ("path", "value", "field", "says"),
    [
        (
            ("scales", "demo", "generate", "cf_ratio"),
            200,
            "scales.demo.generate",
            "at most 100, which is images_per_shard",
        ),
        (
            ("sweep", "num_images"),
            [15, 100],
            "sweep",
            "cf_ratio: found 20, expected at most 15, which is the least of num",
        ),
        (
            ("sweep", "cf_ratio"),
            [1, 200],
            "sweep.cf_ratio",
            "found 200, expected at most 100, which is scales.demo.generate",
        ),
    ],
)
def test_no_more_images_can_share_a_shape_than_are_made_at_once(
    tmp_path: Path, path: tuple[str, ...], value: object, field: str, says: str
) -> None:
    content = copy.deepcopy(CONTENT)
    content["sweep"] |= {"generators": ["cgn"], "num_images": [1000]}
    content["scales"]["demo"]["generate"]["images_per_shard"] = 100
    load(tmp_path, dumped(content))
    parent = content
    for part in path[:-1]:
        parent = parent[part]
    parent[path[-1]] = value
    error = refused(tmp_path, dumped(content))
    assert error.field.startswith(field)
    assert says in str(error)


@pytest.mark.parametrize("swept", [True, False])
def test_images_of_one_shape_are_asked_of_no_generator_without_mechanisms(tmp_path: Path, swept: bool) -> None:
    content = copy.deepcopy(CONTENT)
    content["generators"] = ["cgn", "gan"]
    budget = content["sweep" if swept else "scales"]
    budget |= {"generators": ["cgn", "gan"], "cf_ratio": [1]} if swept else {}
    load(tmp_path, dumped(content))
    if swept:
        budget["cf_ratio"] = [1, 20]
    else:
        budget["demo"]["generate"]["cf_ratio"] = 20
    error = refused(tmp_path, dumped(content))
    assert error.field == ("sweep.cf_ratio" if swept else "scales.demo.generate.cf_ratio")
    assert "found 20, expected 1 for gan" in str(error)


def test_generators_without_masks_are_not_ablated(tmp_path: Path) -> None:
    content = copy.deepcopy(CONTENT)
    content["ablate"]["generators"] = ["vae"]
    error = refused(tmp_path, dumped(content))
    assert error.field == "ablate.generators"
    assert "found 'vae', which has no masks" in str(error)


def test_the_papers_test_set_needs_all_training_digits(tmp_path: Path) -> None:
    error = refused(tmp_path, changed("scales", "demo", "build_dataset", "test_sets", to=["test", "paper_test"]))
    assert error.field == "scales.demo.build_dataset.test_sets"
    assert "set fetch.digits to 'path' or 'download'" in str(error)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "found an empty file at the top level, expected a mapping"),
        ("# only a comment\n", "found an empty file"),
        ("- a\n- b\n", "found a list at the top level, expected a mapping"),
        ("words\n", "found a str at the top level"),
        ("scale: &one demo\nseeds: *one\n", "line 1: found anchor or alias 'one', write the value out"),
        ("scale: demo\nscale: full\n", "line 2: found a key twice"),
        ("scale: [demo\n", "no valid YAML"),
        ("scale: demo\n---\nscale: full\n", "no valid YAML"),
        ("scale: !!python/object:os.system x\n", "no valid YAML"),
        ('scale: !!int ""\n', "no valid YAML"),
        ('scale: !!bool "x"\n', "no valid YAML"),
        ("scale: 2001-99-99\n", "no valid YAML"),
        (f"scale: {'9' * 5000}\n", "no valid YAML"),
        ("scale: " + "[" * 900_000, "found more than 20 levels of nesting"),
        ("1: 2\n", "keys that are text"),
    ],
)
def test_a_file_that_is_no_mapping_of_plain_values_is_refused(tmp_path: Path, text: str, says: str) -> None:
    assert says in str(refused(tmp_path, text))


def test_a_file_over_a_million_bytes_is_refused(tmp_path: Path) -> None:
    assert "more than 1,000,000 bytes" in str(refused(tmp_path, "#" * (MAX_BYTES + 1)))


def test_files_that_cannot_be_read_or_decoded_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_params(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_params(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="no valid YAML"):
        load_params(tmp_path / "binary.yaml")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Quick(_Strict):
    recipe: Literal["quick"]
    steps: int


class _Slow(_Strict):
    recipe: Literal["slow"]
    lambda_shape: float


class _Tagged(_Strict):
    generator: dict[str, Annotated[_Quick | _Slow, Field(discriminator="recipe")]]


@pytest.mark.parametrize(
    ("text", "field", "says"),
    [
        ("{recipe: slow, lambda_shape: no}", "generator.cgn.lambda_shape", "found 'no', expected a number"),
        ("{recipe: slow}", "generator.cgn.lambda_shape", "found nothing"),
        ("{recipe: slow, lambda_shape: 1, lambda_shap: 2}", "generator.cgn.lambda_shap", "mean 'lambda_shape'?"),
        ("{recipe: slow, lambda_shape: 1, steps: 2}", "generator.cgn.steps", "allowed: lambda_shape, recipe"),
        ("{recipe: middling}", "generator.cgn.recipe", "found 'middling', expected 'quick', 'slow'"),
        ("{steps: 3}", "generator.cgn.recipe", "found nothing"),
    ],
)
def test_the_branches_of_a_tagged_union_do_not_show_in_the_field(
    tmp_path: Path, text: str, field: str, says: str
) -> None:
    path = tmp_path / "tagged.yaml"
    path.write_text(f"generator: {{cgn: {text}}}\n")
    with pytest.raises(ConfigError) as caught:
        read_model(path, _Tagged)
    assert caught.value.field == field
    assert says in str(caught.value)


def _places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [place for key, value in inner for place in ((*path, key), *_places(value, (*path, key)))]


WRONG = [float("nan"), float("inf"), float("-inf"), -1, -0.5, 0, "", "text", True, None, [], {}, [1], {"a": 1}, 10**400]


def test_two_hundred_random_faults_end_in_a_config_error_or_in_valid_params(tmp_path: Path) -> None:
    draw = random.Random(0)
    places = _places(CONTENT)
    errors = []
    for _ in range(200):
        place = draw.choice(places)
        if draw.random() < 0.25:
            place = (*place[:-1], draw.choice(["zzz", "lrr", "seed", "x y", "a\nb", 7]))
        parent = CONTENT
        for part in place[:-1]:
            parent = parent[part]
        text = changed(*(place if isinstance(parent, dict) else (*place[:-1], 0)), to=draw.choice(WRONG))
        try:
            params = load(tmp_path, text)
        except ConfigError as error:
            errors.append(error)
        else:
            assert isinstance(params, Params)
    assert len(errors) > 100
    for error in errors:
        assert error.field
        assert "\n" not in str(error)
        assert not any(word in str(error) for word in INTERNAL), str(error)
