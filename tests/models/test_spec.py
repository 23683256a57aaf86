"""What a spec may say, what it refuses, and that it costs no torch."""

import json
import subprocess
import sys

import pytest

from unet_batch.errors import ConfigError, MissingError
from unet_batch.models.presets import PRESETS
from unet_batch.models.spec import MeanStd, ModelSpec, Percentiles

MINIMAL = {"in_channels": 3, "classes": ["background", "nucleus"]}
EXPORTED = {**MINIMAL, "architecture": "exported", "margin": 8}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_survives_json_expanded(preset):
    spec = ModelSpec(preset=preset, width=8)
    again = ModelSpec.model_validate_json(spec.model_dump_json())
    assert again == spec
    assert hash(again) == hash(spec)
    assert "preset" not in spec.model_dump()
    assert spec.width == 8


def test_keys_override_their_preset():
    spec = ModelSpec(preset="unet-2015", in_channels=3, padding="same")
    assert (spec.in_channels, spec.padding, spec.depth) == (3, "same", 4)


def test_a_yaml_file_as_documented(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(
        "dims: 2\nin_channels: 3\nclasses: [background, nucleus, border]\nwidth: 16\ndepth: 4\n"
        "padding: same\nnorm: batch\nhead: multiclass\n"
        "normalisation: {percentiles: [1, 99]}\npixel_size: 0.25\n"
    )
    spec = ModelSpec.from_yaml(path, ["width=24"])
    assert spec.normalisation == Percentiles(percentiles=(1, 99))
    assert (spec.width, spec.out_channels, spec.pixel_size) == (24, 3, 0.25)


@pytest.mark.parametrize(
    ("normalisation", "expected"),
    [
        ("none", "none"),
        ({"mean": [1, 2, 3], "std": [1, 1, 2]}, MeanStd(mean=(1, 2, 3), std=(1, 1, 2))),
        ({"mean": [1], "std": [2]}, MeanStd(mean=(1,), std=(2,))),
    ],
)
def test_normalisations(normalisation, expected):
    assert ModelSpec(**MINIMAL, normalisation=normalisation).normalisation == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({**MINIMAL, "classes": ["only"]}, "two or more classes"),
        ({**MINIMAL, "classes": ["a", "b", "a"]}, "'a' is named 2 times"),
        ({**MINIMAL, "classes": [str(n) for n in range(65536)]}, "at most 65535"),
        ({**MINIMAL, "in_channels": 0}, "greater than or equal to 1"),
        ({**MINIMAL, "depth": 9}, "less than or equal to 8"),
        ({**MINIMAL, "preset": "unet-2014"}, "unet-2015, unet3d-2016, ternausnet-11"),
        ({**MINIMAL, "preset": ["unet-2015"]}, "unknown preset"),
        ({**MINIMAL, "normalisation": {"mean": [1, 2], "std": [1]}}, r"mean has 2 values, not 3"),
        ({**MINIMAL, "normalisation": {"mean": [1], "std": [0]}}, "greater than 0"),
        ({**MINIMAL, "normalisation": {"mean": [1]}}, "is missing"),
        ({**MINIMAL, "normalisation": {"percentiles": [99, 1]}}, "must be below the high one"),
        ({**MINIMAL, "normalisation": "minmax"}, r"write none, \{mean"),
        ({**MINIMAL, "margin": 8}, "`margin` has no meaning for architecture unet"),
        ({**MINIMAL, "architecture": "exported"}, "needs `margin`"),
        ({**EXPORTED, "width": 16}, "`width` has no meaning for architecture exported"),
        ({**EXPORTED, "multiple": 4, "remainder": 4}, "must be below multiple"),
        ({**EXPORTED, "fixed_size": 16}, "does not fit"),
        ({**MINIMAL, "architecture": "ternausnet", "dims": 3}, "`dims` has no meaning"),
        ({**MINIMAL, "architecture": "ternausnet", "depth": 4}, "`depth` of a ternausnet is always 5"),
        ({**MINIMAL, "architecture": ["unet"]}, "must be"),
    ],
)
def test_refusals(values, message):
    with pytest.raises(ConfigError, match=message):
        ModelSpec(**values)


def test_rules_for_objects_travel_and_leave_other_specs_as_they_were():
    plain = ModelSpec(in_channels=1, classes=("a", "b"))
    assert "objects" not in plain.model_dump()
    assert "objects" not in json.loads(plain.model_dump_json())
    ruled = ModelSpec(in_channels=1, classes=("a", "b"), objects={"smallest": 20})
    again = ModelSpec.model_validate_json(ruled.model_dump_json())
    assert again == ruled
    assert again.objects.smallest == 20


def test_one_class_is_enough_for_other_heads():
    for head in ("multilabel", "regression"):
        assert ModelSpec(in_channels=1, classes=["only"], head=head).out_channels == 1


def test_a_typo_names_the_nearest_key(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text("in_channels: 1\nclasses: [a, b]\npading: same\n")
    with pytest.raises(ConfigError, match=r"spec.yaml: unknown key `pading`; did you mean `padding`\?"):
        ModelSpec.from_yaml(path)
    with pytest.raises(MissingError):
        ModelSpec.from_yaml(tmp_path / "none.yaml")


def test_reading_specs_and_scores_needs_no_torch():
    modules = "spec, checkpoint, machine, header, metrics, normalise, receptive_field, presets"
    program = f"import sys; from unet_batch.models import {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
