import pytest

from unet_batch.store import ome


def spaced(units, scale):
    axes = [{"name": a, "type": "space", "unit": u} for a, u in zip("zyx", units, strict=True)]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": list(scale)}]}]
    return ome.parse({"multiscales": [{"version": "0.4", "axes": axes, "datasets": datasets}]}, "here")


def test_an_axis_whose_extent_is_not_known_has_no_unit():
    """Else a reader would take its 1 for a micrometre."""
    told = ome.multiscales("image", "zyx", {"y": 0.5, "x": 0.5}, "micrometer", [{}])
    assert [axis.get("unit") for axis in told["multiscales"][0]["axes"]] == [None, "micrometer", "micrometer"]
    assert ome.parse({"ome": told}, "here").sized == "yx"


def test_axes_of_several_units_are_brought_to_that_of_x():
    found = spaced(["millimeter", "micrometer", "micrometer"], (0.002, 0.5, 0.5))
    assert (found.unit, found.sized) == ("micrometer", "zyx")
    assert found.datasets[0].scale == pytest.approx((2.0, 0.5, 0.5))


@pytest.mark.parametrize("unit", ["µm", "micron", "um", "micrometer"])
def test_units_have_one_name(unit):
    assert spaced([unit] * 3, (1, 1, 1)).unit == "micrometer"


def test_scales_without_units_are_kept_as_they_are():
    found = spaced([None, None, None], (3, 1, 1))
    assert (found.unit, found.sized) == (None, "zyx")
    assert spaced(["pixel"] * 3, (3, 1, 1)).unit is None


def test_a_scale_without_a_unit_beside_others_is_kept_unless_it_says_nothing():
    assert spaced([None, "micrometer", "micrometer"], (5, 1, 1)).sized == "zyx"
    assert spaced([None, "micrometer", "micrometer"], (1, 1, 1)).sized == "yx"
