"""ArrayForm: numpy, Dask and xarray arrays as pixels with named axes, and answers in the same form."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.models.spec import ModelSpec
from unet_batch.store.image import ALIASES

ORDER = "tczyx"


def is_array(value: object) -> bool:
    """Whether ``value`` is an array of pixels: numpy, Dask, xarray, or what numpy makes one of."""
    return hasattr(value, "shape") and hasattr(value, "dtype") and hasattr(value, "__array__")


@dataclass(frozen=True, slots=True)
class ArrayForm:
    """How an array came, so that an answer can have its form.

    Attributes:
        given: the array.
        axes: a letter of t c z y x for each of its axes.
    """

    given: Any
    axes: str

    @classmethod
    def of(cls, array: Any, axes: str | None, spec: ModelSpec) -> "ArrayForm":
        """The form of ``array``; without ``axes`` they follow from its names, or from a clear shape.

        Raises:
            InputError: no array of numbers, or axes that are not clear or do not fit.
        """
        if not is_array(array):
            raise InputError(
                f"a {type(array).__name__} is no image: give a numpy, Dask or xarray array, or a store's path"
            )
        shape = tuple(array.shape)
        named = axes or _of_names(array) or _of_shape(shape, spec)
        if len(named) != len(shape):
            raise InputError(f"axes {named!r} name {len(named)} axes, the array has the shape {shape}")
        if len(set(named)) != len(named) or not {"y", "x"} <= set(named) <= set(ORDER):
            raise InputError(f"axes {named!r} must be among t, c, z, y, x, each once, with y and x")
        if np.dtype(array.dtype).kind not in "buif" or not prod(shape):
            raise InputError(f"an array of {array.dtype} and shape {shape} has no pixels; give numbers")
        return cls(array, named)

    @property
    def canonical(self) -> str:
        """The axes in the order t c z y x."""
        return "".join(axis for axis in ORDER if axis in self.axes)

    def pixels(self) -> NDArray[Any]:
        """The pixels in the order of ``canonical``; a Dask array is computed."""
        found = np.asarray(self.given)
        return np.ascontiguousarray(found.transpose([self.axes.index(axis) for axis in self.canonical]))

    def answer(
        self, found_CX: NDArray[Any], names: tuple[str, ...] | None, attributes: dict[str, Any]
    ) -> Any:
        """(C, *others in canonical order) in the form of the array.

        Args:
            found_CX: the answer.
            names: of its channels; None leaves the only one out.
            attributes: what an xarray answer says of itself.
        """
        others = self.canonical.replace("c", "")
        axes = others if names is None else "c" + others
        order = self.axes.replace("c", "") if names is None else self._with_channels()
        plain = found_CX[0] if names is None else found_CX
        moved = np.ascontiguousarray(plain.transpose([axes.index(axis) for axis in order]))
        if hasattr(self.given, "dims") and hasattr(self.given, "coords"):
            return self._labelled(moved, order, names, attributes)
        return self._chunked(moved, self.given, order)

    def _with_channels(self) -> str:
        return self.axes if "c" in self.axes else "c" + self.axes

    def _labelled(
        self, moved: NDArray[Any], order: str, names: tuple[str, ...] | None, attributes: dict[str, Any]
    ) -> Any:
        """An xarray array with the coordinates of the one that was given."""
        given = self.given
        dims = dict(zip(self.axes, given.dims, strict=True))
        channel = dims.get("c", "c")
        kept = {
            name: value
            for name, value in given.coords.items()
            if channel not in value.dims and name != channel
        }
        coords = {**kept, **({} if names is None else {channel: list(names)})}
        data = self._chunked(moved, getattr(given, "data", None), order)
        shown = [dims.get(axis, channel) for axis in order]
        return type(given)(data, dims=shown, coords=coords, attrs=attributes)

    def _chunked(self, moved: NDArray[Any], like: Any, order: str) -> Any:
        """A Dask array where ``like`` is one, in chunks like its own; else ``moved``."""
        if not hasattr(like, "chunks") or not hasattr(like, "dask"):
            return moved
        from unet_batch.schedule.arrays import as_dask  # noqa: PLC0415 - slow to import

        chunks = dict(zip(self.axes, like.chunks, strict=True))
        own = tuple(chunks[axis] if axis != "c" else (n,) for axis, n in zip(order, moved.shape, strict=True))
        return as_dask(moved, own)


def _of_names(array: Any) -> str | None:
    """The axes that an xarray array names; None where they are no letters of ours."""
    dims = getattr(array, "dims", None)
    if not isinstance(dims, tuple):
        return None
    letters = [ALIASES.get(str(name).lower(), str(name).lower()) for name in dims]
    return "".join(letters) if set(letters) <= set(ORDER) else None


def _of_shape(shape: tuple[int, ...], spec: ModelSpec) -> str:
    """Axes that a shape leaves no doubt of."""
    spatial = "zyx"[-spec.dims :]
    if len(shape) == spec.dims and spec.in_channels == 1:
        return spatial
    if len(shape) == spec.dims + 1 and (shape[0] == spec.in_channels) != (shape[-1] == spec.in_channels):
        return "c" + spatial if shape[0] == spec.in_channels else spatial + "c"
    likely = "c" + spatial if len(shape) == spec.dims + 1 else ORDER[-len(shape) :]
    raise InputError(
        f"an array of the shape {shape} for a network of {spec.in_channels} channels: say which axes it "
        f"has, such as axes={likely!r}"
    )
