"""YAML that no person wrote for this program: refused in one line, soon and in little memory."""

import pytest

from unet_batch.config import load
from unet_batch.errors import ConfigError
from unet_batch.prediction.config import PredictConfig

BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("block: " + "[" * 3000 + "]" * 3000, "nested too deep"),
        ("block: " + "[" * 100 + "]" * 100, "nested more than 50 deep"),
        (f"block: {'9' * 5000}", "4300"),
        (f"block: 0x{'f' * 5000}", "an integer of 20000 bits"),
        (BOMB, "more than 1,000,000 values"),
        ("block: &a [*a]", "nested more than 50 deep"),
        ("block: 2024-13-45", "month must be in"),
        ("? [1, 2]\n: 3", "unhashable"),
    ],
)
def test_yaml_that_is_no_settings(tmp_path, text, told):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told) as caught:
        load(PredictConfig, path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert len(said) < 400 + len(str(path))
    assert "\n" not in said
    if text.startswith("block: ") and "&" not in text:
        with pytest.raises(ConfigError, match=told):
            load(PredictConfig, None, [text.replace(": ", "=", 1)])


def test_a_large_file_is_no_yaml(tmp_path):
    path = tmp_path / "image.tif"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ConfigError, match="larger than 4 MiB"):
        load(PredictConfig, path)


@pytest.mark.parametrize("values", [{"compression": "a" * 10_000}, {"a" * 10_000: 1}])
def test_a_long_value_or_key_makes_no_long_line(values):
    with pytest.raises(ConfigError) as caught:
        load(PredictConfig, None, [f"{key}={value}" for key, value in values.items()])
    assert len(str(caught.value)) < 2000
    assert "blosc-lz4 or none" in str(caught.value) or "known keys" in str(caught.value)
