"""Networks on OpenVINO's CPU plugin: an optional backend, the fastest on CPUs."""

import sys
import threading
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unet_batch.errors import InputError

_HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoNetwork:
    """A torch module converted for one input shape; each calling thread has its own request."""

    def __init__(
        self,
        module: nn.Module,
        precision: Literal["fp32", "bf16", "fp16"],
        input_shape: Sequence[int],
        threads: int | None,
    ) -> None:
        if precision not in _HINTS:
            raise InputError(f"backend openvino: no {precision} on a CPU; use bf16 or fp32")
        self._compiled = _compile(module, _HINTS[precision], tuple(input_shape), threads)
        self._own = threading.local()

    def __call__(self, x: Tensor) -> Tensor:
        """Float32 (N, C, *spatial) to float32 logits."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        result = self._own.request.infer({0: x.contiguous().numpy()}, share_inputs=True, share_outputs=False)
        return torch.from_numpy(result[0])


def _compile(module: nn.Module, hint: str, shape: tuple[int, ...], threads: int | None) -> Any:
    # OpenVINO reports its use to its makers unless the machine's user has opted out. Nobody asked the people
    # whose images these are, so it finds no telemetry package and takes its own stub.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: cannot be imported
    try:
        import openvino  # noqa: PLC0415 - an optional dependency
    except ImportError:
        raise InputError(
            "backend openvino: openvino is not installed; pip install 'unet-batch[fast]' or use eager"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch and openvino about each other's versions
            program = torch.export.export(module.eval(), (torch.zeros(shape),), strict=False)
            converted = openvino.convert_model(program)
    except Exception as error:  # noqa: BLE001 - a foreign program makes either raise anything
        reason = str(error).strip().split("\n", 1)[0][:200]
        raise InputError(f"backend openvino: cannot convert this network ({reason}); use eager") from None
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    return openvino.Core().compile_model(converted, "CPU", settings)
