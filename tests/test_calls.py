# The public functions: their signatures are their own, and what they cannot take is told in one line.

import inspect

import numpy as np
import pytest

import unet_batch
from unet_batch.config import load
from unet_batch.errors import ConfigError, InputError, MissingError

FUNCTIONS = [name for name in unet_batch.__all__ if name[0].islower() and callable(getattr(unet_batch, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_help_shows_the_function(name):
    function = getattr(unet_batch, name)
    assert function.__name__ == name
    assert len(function.__doc__.splitlines()) > 2
    assert not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())


@pytest.mark.parametrize(
    "wrong", [3, np.zeros(3), {"a": 1}, [3.5], None, object()], ids=lambda v: type(v).__name__
)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_wrong_type_is_one_line(name, wrong):
    function = getattr(unet_batch, name)
    required = [
        one
        for one in inspect.signature(function).parameters.values()
        if one.kind is one.POSITIONAL_OR_KEYWORD
        and (one.default is one.empty or one.name in ("out", "model"))
    ]
    parameters = inspect.signature(function).parameters.values()
    keys = {
        one.name: wrong for one in parameters if one.kind is one.KEYWORD_ONLY and one.default is one.empty
    }
    with pytest.raises((InputError, MissingError)) as told:
        function(*[wrong] * len(required), **keys)
    assert "\n" not in str(told.value)
    assert " at 0x" not in str(told.value)


def test_the_line_says_what_is_wanted():
    with pytest.raises(InputError) as told:
        unet_batch.status(3)
    assert str(told.value) == "status(): path takes text or a path, not a int (3)"
    with pytest.raises(
        InputError, match=r"predict\(\): config takes a PredictConfig or a mapping of its keys, not a int"
    ):
        unet_batch.predict("image", "out", "net", 3)


def test_settings_may_be_a_mapping_and_are_checked_as_yaml_is():
    with pytest.raises(ConfigError, match="did you mean `workers`"):
        unet_batch.predict("image", "out", "net", {"worker": 3})
    with pytest.raises(MissingError):
        unet_batch.predict("image", "out", "net", {"workers": 0})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: unet_batch.PredictConfig(tile="big"), "PredictConfig: `tile`"),
        (lambda: unet_batch.PredictConfig(tiles=3), "did you mean `tile`"),
        (lambda: unet_batch.PredictConfig({"tile": 3}), "given by name"),
        (unet_batch.TrainConfig, "is missing"),
        (lambda: unet_batch.ModelSpec(in_channels="x", classes=["a"]), "ModelSpec: `in_channels`"),
    ],
)
def test_settings_made_in_python_are_one_line(make, says):
    with pytest.raises(ConfigError) as told:
        make()
    assert says in str(told.value)
    assert "\n" not in str(told.value)
    assert "pydantic" not in str(told.value)


def test_a_yaml_is_loaded_by_a_path_as_text():
    config = load(unet_batch.TrainConfig, "configs/train/membranes.yaml", ["run.steps=200"])
    assert config.run.steps == 200
