"""Network: arrays in, labels out, through the tiles and margins of `predict`; no store, no workers.

net = Network("net.safetensors"); labels = net(array, axes="cyx")
"""

import copy
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from unet_batch.config import check
from unet_batch.errors import InputError
from unet_batch.models.checkpoint import file_hash, load_checkpoint
from unet_batch.models.device import resolve_device
from unet_batch.models.spec import ModelSpec
from unet_batch.prediction.arrays import ArrayForm
from unet_batch.prediction.autotuner import assume
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.networks import offer
from unet_batch.prediction.nodata import NoData
from unet_batch.prediction.output import layout_of
from unet_batch.prediction.plan import Plan
from unet_batch.prediction.planning import make_plan
from unet_batch.prediction.predictor import Predictor
from unet_batch.prediction.request import Request
from unet_batch.prediction.resources import threads
from unet_batch.store.image import Image
from unet_batch.store.memory import in_memory

Source = str | Path | nn.Module


class Network:
    """One network, or the mean of several, that takes arrays.

    Args:
        model: a checkpoint, any ``nn.Module``, or a sequence of these. A module maps (N, C, *spatial), which
            is normalised as the spec says, to logits (N, K, *spatial), cropped by its margin or not.
        spec: description of modules; of a module that is no U-Net of ours, ``architecture="exported"`` with
            its margin and multiple. Checkpoints bring their own.
        config: settings of `predict`, where they have a meaning for arrays: tile, batch, precision, device,
            merge, tta, nodata and so on.

    Attributes:
        spec: what the networks are.

    Raises:
        CheckpointError: a checkpoint that cannot be used.
        InputError: a module without a spec, or something that is no network.
    """

    def __init__(
        self,
        model: Source | Sequence[Source],
        spec: ModelSpec | None = None,
        config: PredictConfig | None = None,
    ) -> None:
        sources = [model] if isinstance(model, Source) else list(_several(model))
        self.config = check(PredictConfig, config, "config")
        self._modules = [_opened(source, spec) for source in sources]
        self.spec = self._modules[0][2]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by class number, or of the output channels."""
        return self.spec.classes

    @property
    def digests(self) -> tuple[str, ...]:
        """What tells the networks from others, as plans have it."""
        return tuple(digest for digest, _, _ in self._modules)

    def offer(self) -> None:
        """Let the next prediction of this process take the networks from memory."""
        for digest, module, spec in self._modules:
            offer(digest, module, spec)

    def __call__(self, array: Any, axes: str | None = None, *, probabilities: bool = False) -> Any:
        """Labels of ``array``, in its form: numpy, Dask (computed at once) or xarray.

        Args:
            array: pixels as the network learnt them, not normalised.
            axes: a letter of t c z y x for each axis; needed where names or shape do not tell.
            probabilities: also give those of the classes, float32; NaN where there is no data.

        Returns:
            Class numbers, uint8 (uint16 from 251 classes on) without the axis c, 255 (65535) where there is
            no data; of a multilabel or regression network a channel per name along c. With
            ``probabilities`` a pair, the second (c = classes).

        Raises:
            InputError: no array of pixels, axes that are not clear, channels that do not fit.
        """
        form = ArrayForm.of(array, axes, self.spec)
        image = in_memory(form.pixels(), form.canonical)
        settings = self.config.model_copy(update={"probabilities": probabilities})
        labels, found = self._predicted(image, settings)
        single = self.spec.head == "multiclass"
        told = {"classes": list(self.classes)}
        answer = form.answer(labels, None if single else self.classes, told)
        return (answer, form.answer(found, self.classes, told)) if found is not None else answer

    def _predicted(self, image: Image, config: PredictConfig) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Labels (1 or K, *shape), and probabilities (K, *shape) where they are wanted."""
        device = resolve_device(config.device)
        config = config.model_copy(update={"device": device, "workers": 0})
        request = Request.of(image, self.digests, self.spec, config)
        predictor = self._predictor(request, device)
        plan, fill = predictor.plan, layout_of(predictor.plan, request).fill
        labels: NDArray[Any] | None = None
        found = (
            np.full((self.spec.out_channels, *image.shape), np.nan, np.float32)
            if config.probabilities
            else None
        )
        for place, block, chances in _blocks(predictor, image, plan):
            if labels is None:
                labels = np.full((len(block), *image.shape), fill, block.dtype)
            labels[place] = block
            if found is not None and chances is not None:
                found[place] = chances
        if labels is None:
            channels = 1 if self.spec.head == "multiclass" else self.spec.out_channels
            labels = np.full((channels, *image.shape), fill, layout_of(plan, request).dtype)
        return labels, found

    def _predictor(self, request: Request, device: str) -> Predictor:
        choice = assume(request)
        self.offer()
        plan = make_plan(request, choice)
        fill = layout_of(plan, request).fill
        try:
            return Predictor(plan, request.models, plan.runtime(device, threads(request.config)), 1, fill)
        except InputError:
            if self.config.backend != "auto" or choice.backend == "eager":
                raise
        eager = request.config.model_copy(update={"backend": "eager"})
        return self._predictor(Request.of(request.image, request.hashes, self.spec, eager), device)


def _blocks(
    predictor: Predictor, image: Image, plan: Plan
) -> Iterator[tuple[Any, NDArray[Any], NDArray[np.float32] | None]]:
    """Where each block with data lies, its labels and its probabilities."""
    nodata = NoData.open(plan, image)
    for number in plan.blocks.numbers_in(plan.region):
        box = plan.blocks.box(number)
        hull, valid = nodata.read(_Channels(image, plan.image.channels), plan.tiles.read_box(box), box)
        if valid is not None and not valid.any():
            continue
        answer = predictor.answer(hull, box, valid)
        labels = predictor.computed(answer, box).arrays["labels"][0]
        chances = None
        if answer.probabilities is not None:
            told = answer.probabilities
            if answer.keep is not None:
                told = torch.where(answer.keep, told, torch.nan)
            chances = told.float().cpu().numpy().reshape(-1, *box.shape)
        yield (slice(None), *box.slices), labels, chances


class _Channels:
    """An image seen through the channels that the network takes."""

    def __init__(self, image: Image, channels: tuple[int, ...]) -> None:
        self.image, self.channels, self.shape = image, channels, image.shape

    def read(self, box: Any) -> NDArray[Any]:
        return self.image.read(box, self.channels)


def _several(model: Any) -> Sequence[Source]:
    if isinstance(model, Sequence) and model and all(isinstance(one, Source) for one in model):
        return model
    raise InputError(
        f"a {type(model).__name__} is no network: give the path of a checkpoint, a torch module with its "
        "ModelSpec, or a list of these"
    )


def _opened(source: Source, spec: ModelSpec | None) -> tuple[str, nn.Module, ModelSpec]:
    """Digest, module and description of a network."""
    if not isinstance(source, nn.Module):
        module, own = load_checkpoint(Path(source))
        return file_hash(Path(source)), module, own
    if not isinstance(spec, ModelSpec):
        raise InputError(
            f"a {type(source).__name__} needs its ModelSpec: Network(module, "
            "ModelSpec(in_channels=..., classes=[...], architecture='exported', margin=..., multiple=...))"
        )
    module = copy.deepcopy(source).eval()
    digest = hashlib.sha256(f"{type(source)} {id(source)} {spec.model_dump_json()}".encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().float().numpy()).data)
    return digest.hexdigest(), module, spec
