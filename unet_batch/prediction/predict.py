"""`predict` as Python has it: stored images into mask stores, arrays into arrays."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unet_batch.calls import checked
from unet_batch.engine.job import Ask, run_job
from unet_batch.engine.progress import Hooks
from unet_batch.engine.worker_pool import Workers
from unet_batch.errors import InputError
from unet_batch.formats.image import open_image
from unet_batch.prediction import run
from unet_batch.prediction.arrays import is_array
from unet_batch.prediction.autotuner import assume
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.plan import Plan
from unet_batch.prediction.planning import make_plan
from unet_batch.prediction.request import Request
from unet_batch.prediction.resources import threads
from unet_batch.prediction.scale import fitted
from unet_batch.store.level import View

if TYPE_CHECKING:
    from unet_batch.prediction.network import Network


@checked
def predict(  # noqa: PLR0913 - two calls in one: of stores, and of arrays
    image: Any,
    out: Any = None,
    model: Any = None,
    config: PredictConfig | None = None,
    *,
    axes: str | None = None,
    probabilities: bool = False,
    retry_failed: bool = False,
    hooks: Hooks = Hooks(),
) -> Any:
    """Segment an image: a stored one into a mask store, or an array into an array.

    ``predict("image.zarr", "masks.zarr", "net.safetensors")`` writes a mask store and returns its Status. A
    store that is there already is resumed: finished blocks are not computed again, and a finished store is
    left alone. Settings that are ``auto`` take what it was begun with.

    ``predict(array, "net.safetensors")`` returns labels in the form of ``array``: numpy, Dask or xarray.

    Args:
        image: OME-Zarr image or plain Zarr array; or a numpy, Dask or xarray array.
        out: mask store; ``IMAGE/labels/NAME`` registers it there. Of an array: the network.
        model: checkpoint, a list of them (their mean is taken), or a ``Network``.
        config: settings, or a mapping of their keys; all automatic by default.
        axes: of a plain array without dimension names, e.g. ``zyx``.
        probabilities: of an array: also return those of the classes, as the second of a pair.
        retry_failed: try blocks again that were set aside.
        hooks: to watch the run and to end it early.

    Raises:
        UnetBatchError: input that cannot be used, or a store that belongs to another plan or driver.
    """
    if is_array(image):
        return _of_array(image, out if model is None else model, config, axes, probabilities=probabilities)
    if probabilities:
        raise InputError(
            "predict(): probabilities is of arrays; for a store write config={'probabilities': True}"
        )
    if _in_memory(model):
        _require_paths(image=image, out=out)
        return _by_network(image, out, model, config, axes, retry_failed=retry_failed, hooks=hooks)
    _require_paths(image=image, out=out, model=model)
    return run.predict(image, out, model, config, axes=axes, retry_failed=retry_failed, hooks=hooks)


def _in_memory(model: object) -> bool:
    """Whether ``model`` is a Network; knows without importing torch."""
    return type(model).__module__ == "unet_batch.prediction.network"


def _of_array(
    array: Any, model: Any, config: PredictConfig | None, axes: str | None, *, probabilities: bool
) -> Any:
    from unet_batch.prediction.network import Network  # noqa: PLC0415 - imports torch

    network = model if isinstance(model, Network) else Network(model, config=config)
    return network(array, axes, probabilities=probabilities)


def _require_paths(**given: object) -> None:
    for name, value in given.items():
        several = list(value) if name == "model" and isinstance(value, list | tuple) else [value]
        if several and all(isinstance(one, str | Path) for one in several):
            continue
        what = "is missing" if value is None else f"is a {type(value).__name__}"
        raise InputError(
            f"predict(): {name} {what}; write predict(IMAGE, OUT, MODEL) with paths, or predict(ARRAY, "
            "MODEL); a torch module becomes a MODEL by Network(module, spec)"
        )


def _by_network(
    path: str | Path,
    out: str | Path,
    network: "Network",
    config: PredictConfig | None,
    axes: str | None,
    *,
    retry_failed: bool,
    hooks: Hooks,
) -> Any:
    """A stored image by a network in memory, in this process."""
    settings = (config or network.config).model_copy(update={"workers": 0})
    opened = fitted(open_image(path, View(axes, settings.series)), network.spec.pixel_size, settings)
    request = Request.of(opened, network.digests, network.spec, settings)
    job = _InMemoryJob(request, run.MaskStore(str(out)), axes, retry_failed)
    job.network = network
    return run_job(job, hooks)


class _InMemoryJob(run.PredictJob):
    """A prediction by networks that are in no file: nothing is tried, and no other process can help."""

    network: "Network"

    def plan(self, stored: Mapping[str, Any] | None, ask: Ask) -> Plan:
        """What usually wins, or what the store was begun with."""
        del ask
        if stored is None:
            return make_plan(self.request, assume(self.request))
        begun = Plan.model_validate(stored)
        self.request = self.request.as_begun(begun.image)
        return make_plan(self.request, run.settled(self.request, begun))

    def workers(self, pixels: int) -> Workers:
        """The loop of this process."""
        del pixels
        self.network.offer()
        return Workers(self.request.config, 0, threads(self.request.config))
