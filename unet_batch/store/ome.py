"""OME-Zarr metadata as dicts: 0.5 built, 0.4 and 0.5 parsed. Pure functions; no files.

Sources: https://ngff.openmicroscopy.org/0.5/ and /0.4/.
"""

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import mul
from typing import Any

from unet_batch.colours import of_class
from unet_batch.errors import FormatError, one_line
from unet_batch.store.units import canonical, length

VERSION = "0.5"
_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_GOLDEN = 0.618033988749895
Rgba = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Dataset:
    """One level: its path in the group, and the extent of a pixel per axis (c has 1)."""

    path: str
    scale: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Multiscales:
    """What a reader needs of a group's OME metadata.

    ``unit`` is that of the last axis, and scales are in it; ``sized`` are the axes whose extent is known.
    """

    axes: str
    datasets: tuple[Dataset, ...]
    unit: str | None
    channel_names: tuple[str, ...]
    version: str
    sized: str


def multiscales(
    name: str,
    axes: str,
    pixel_size: Mapping[str, float],
    unit: str | None,
    factors: Sequence[Mapping[str, int]],
) -> dict[str, Any]:
    """The ``ome`` attribute with levels ``0``, ``1``, ...; ``factors`` are pixels of level 0 per pixel."""
    datasets = []
    for level, factor in enumerate(factors):
        scale = [float(pixel_size.get(a, 1.0) * factor.get(a, 1)) for a in axes]
        # Pixel centres: the first pixel of a coarser level lies between the pixels that it stands for.
        shift = [float(pixel_size.get(a, 1.0) * (factor.get(a, 1) - 1) / 2) for a in axes]
        transforms = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    entry = {
        "name": name,
        "axes": [_axis(a, unit if a in pixel_size else None) for a in axes],
        "datasets": datasets,
    }
    return {"version": VERSION, "multiscales": [entry]}


def image_label(
    class_names: Sequence[str], colours: Sequence[Rgba], fill: int, source: str | None
) -> dict[str, Any]:
    """The ``image-label`` entry: a colour and a name per class; ``fill`` is transparent."""
    rgba = {**dict(enumerate(colours)), fill: (0, 0, 0, 0)}
    names = {**dict(enumerate(class_names)), fill: "no data"}
    label: dict[str, Any] = {
        "version": VERSION,
        "colors": [{"label-value": value, "rgba": list(colour)} for value, colour in rgba.items()],
        "properties": [{"label-value": value, "name": name} for value, name in names.items()],
    }
    if source is not None:
        label["source"] = {"image": source}
    return label


def instance_label(source: str | None) -> dict[str, Any]:
    """The ``image-label`` entry of object numbers: too many for a colour each; 0 is none."""
    label: dict[str, Any] = {
        "version": VERSION,
        "colors": [{"label-value": 0, "rgba": [0, 0, 0, 0]}],
        "properties": [{"label-value": 0, "name": "no object"}],
    }
    if source is not None:
        label["source"] = {"image": source}
    return label


def omero(names: Sequence[str], colours: Sequence[Rgba], low: float, high: float) -> dict[str, Any]:
    """The ``omero`` entry that viewers take channel names, colours and display range from."""
    window = {"min": low, "max": high, "start": low, "end": high}
    return {
        "channels": [
            {"label": name, "color": "".join(f"{v:02X}" for v in rgba[:3]), "window": window, "active": True}
            for name, rgba in zip(names, colours, strict=True)
        ]
    }


def channel_colours(count: int) -> tuple[Rgba, ...]:
    """White for one channel, red, green and blue for three, hues far apart for others."""
    if count == 1:
        return ((255, 255, 255, 255),)
    if count == 3:
        return ((255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255))
    return tuple(_hue(i) for i in range(count))


def class_colours(names: Sequence[str]) -> tuple[Rgba, ...]:
    """A colour per class: of common ones by name, else hues far apart; a first background is transparent."""
    colours: list[Rgba] = []
    for i, name in enumerate(names):
        usual = of_class(name)
        colours.append(usual if usual is not None and usual not in colours else _hue(i))
    if names and names[0].lower() == "background":
        colours[0] = (0, 0, 0, 0)
    return tuple(colours)


def parse(attributes: Mapping[str, Any], where: str) -> Multiscales | None:
    """The OME metadata among a group's attributes, or None where there is none.

    Raises:
        FormatError: metadata that does not follow OME-Zarr 0.4 or 0.5.
    """
    ome = attributes.get("ome", attributes)
    if not isinstance(ome, Mapping) or "multiscales" not in ome:
        return None
    try:
        return _parsed(ome)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        fault = one_line(error)
        raise FormatError(f"{where}: broken OME-Zarr metadata ({fault}); mend its multiscales") from error


def _parsed(ome: Mapping[str, Any]) -> Multiscales:
    entry = ome["multiscales"][0]
    described = entry["axes"]
    axes = "".join(_axis_name(a) for a in described)
    if len(set(axes)) != len(axes) or not {"y", "x"} <= set(axes):
        raise ValueError(f"axes {axes} need y and x, each axis once")
    common = _scale(entry.get("coordinateTransformations") or [], len(axes))
    datasets = []
    for dataset in entry["datasets"]:
        scale = _scale(dataset.get("coordinateTransformations") or [], len(axes))
        if not isinstance(dataset["path"], str) or not dataset["path"].isprintable():
            raise TypeError(f"dataset path {dataset['path']!r}")
        datasets.append(Dataset(dataset["path"], tuple(a * b for a, b in zip(scale, common, strict=True))))
    if not datasets:
        raise ValueError("no datasets")
    units = {a: _unit(told) for a, told in zip(axes, described, strict=True) if _TYPES[a] == "space"}
    unit = units["x"] or units["y"]
    factors = [_factor(units.get(a), unit) for a in axes]
    inside = tuple(Dataset(d.path, tuple(map(mul, d.scale, factors))) for d in datasets)
    # An axis of extent 1 without a unit, beside others that have one, is one whose extent is not known.
    first = zip(axes, inside[0].scale, strict=True)
    sized = "".join(a for a, extent in first if not unit or units.get(a, unit) or extent != 1)
    channels = (ome.get("omero") or {}).get("channels") or []
    names = tuple(str(channel.get("label", i)) for i, channel in enumerate(channels))
    version = str(ome.get("version") or entry.get("version") or "0.4")
    return Multiscales(axes, inside, unit, names, version, sized)


def _unit(axis: object) -> str | None:
    unit = axis.get("unit") if isinstance(axis, Mapping) else None
    return None if unit is None else canonical(str(unit))


def _factor(unit: str | None, common: str | None) -> float:
    """What an extent in ``unit`` is to be multiplied by to be in ``common``."""
    own, other = length(unit), length(common)
    return own.micrometres / other.micrometres if own and other else 1.0


def _axis(name: str, unit: str | None) -> dict[str, str]:
    axis = {"name": name, "type": _TYPES[name]}
    if _TYPES[name] == "space" and unit is not None:
        axis["unit"] = unit
    return axis


def _axis_name(axis: object) -> str:
    name = axis["name"] if isinstance(axis, Mapping) else axis  # a plain string in OME-Zarr 0.3
    kind = axis.get("type") if isinstance(axis, Mapping) else None
    letter = {"channel": "c", "time": "t"}.get(str(kind), str(name).lower())
    if letter not in _TYPES:
        raise ValueError(f"axis {name!r} is none of t, c, z, y, x")
    return letter


def _scale(transforms: Sequence[Mapping[str, Any]], count: int) -> tuple[float, ...]:
    for transform in transforms:
        if transform["type"] == "scale" and "scale" in transform:
            scale = tuple(float(s) for s in transform["scale"])
            if len(scale) != count or not all(0 < s < float("inf") for s in scale):
                raise ValueError(f"scale {scale} for {count} axes")
            return scale
    return (1.0,) * count


def _hue(index: int) -> Rgba:
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN % 1.0, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue), 255
