import doctest

import pytest

from unet_batch.store import units
from unet_batch.store.units import canonical, in_micrometres, length


def test_the_example_holds():
    assert doctest.testmod(units).failed == 0


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("um", "micrometer"),
        ("µm", "micrometer"),
        ("μm", "micrometer"),
        ("micron", "micrometer"),
        ("Microns", "micrometer"),
        ("micrometre", "micrometer"),
        ("UM", "micrometer"),
        (" nm ", "nanometer"),
        ("mm", "millimeter"),
        ("centimetres", "centimeter"),
        ("m", "meter"),
        ("metre", "meter"),
        ("Å", "angstrom"),
        ("\u212b", "angstrom"),
        ("inch", "inch"),
        ("Inches", "inch"),
        ("[in_i]", "inch"),
        ("feet", "foot"),
        ("km", "kilometer"),
    ],
)
def test_names_of_lengths(text, name):
    assert length(text).name == name
    assert canonical(text) == name


@pytest.mark.parametrize("text", [None, "", "pixel", "Pixels", "furlong", "Mm", "second", "US survey foot"])
def test_no_length(text):
    assert length(text) is None


def test_every_unit_is_found_by_its_name_and_its_symbol():
    for one in units._LENGTHS.values():
        assert length(one.name) is length(one.symbol) is length(one.ascii) is one


def test_what_is_no_unit_of_ours_keeps_its_name_and_pixels_have_none():
    assert canonical("furlong") == "furlong"
    assert canonical("px") is None


def test_pixel_sizes_of_several_units_are_brought_to_one():
    found = in_micrometres({"z": (2.0, "mm"), "y": (500.0, "nm"), "x": (5000.0, "Å")})
    assert found.sizes == pytest.approx({"z": 2000.0, "y": 0.5, "x": 0.5})
    assert (found.unit, found.notes) == ("micrometer", ())


@pytest.mark.parametrize(
    ("given", "kept", "said"),
    [
        ({"y": (1.0, "µm"), "x": (0.0, "µm")}, {}, "along y alone"),
        ({"x": (0.5, "µm")}, {}, "along x alone"),
        ({"y": (2.0, "furlong"), "x": (2.0, "furlong")}, {}, "2 'furlong' is no known length"),
        ({"y": (2.0, "pixel"), "x": (2.0, "pixel")}, {}, None),
        ({"z": (float("inf"), "µm"), "y": (1.0, "µm"), "x": (1.0, "µm")}, {"y": 1.0, "x": 1.0}, None),
    ],
)
def test_what_is_not_known_is_left_out_and_said(given, kept, said):
    found = in_micrometres(given)
    assert found.sizes == kept
    assert found.unit == ("micrometer" if kept else None)
    assert found.notes == () if said is None else said in found.notes[0]
