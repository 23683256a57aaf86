"""Networks on OpenVINO's CPU plugin: an optional backend, the fastest on CPUs.

Calls may run at once, each in a stream of its own on its share of the threads. On a light network such
threads need not wait for each other after every layer, nor for one that a reading or writing thread holds up.
"""

import sys
import threading
import warnings
from functools import cache
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from unet_batch.errors import InputError
from unet_batch.extras import needed
from unet_batch.models import normalise
from unet_batch.models.feed import Feed
from unet_batch.models.folding import fold_batch_norm
from unet_batch.models.normalise import Affine
from unet_batch.models.runtime import Runtime

_HINTS = {"fp32": "f32", "bf16": "bf16"}

# Each adds in one order, however many threads share it (measured). Means over all pixels (MVN: instance and
# group norms) do not; and a stream may have fewer threads than it was told, as there are no more cores.
_ORDERED = {"Parameter", "Constant", "Result", "Convert", "Reshape", "Concat", "Add", "Subtract", "Multiply"}
_ORDERED |= {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "Relu", "MaxPool", "Interpolate"}
_ORDERED |= {"ShapeOf", "Gather", "Slice", "StridedSlice", "Squeeze", "Unsqueeze", "Broadcast"}
_ORDERED |= {"Divide", "Floor"}  # of shapes

# Converting takes a second, compiling for one more shape a tenth: a trial tries many shapes of one network.
_converted: "WeakKeyDictionary[nn.Module, Any]" = WeakKeyDictionary()


class OpenVinoNetwork:
    """A torch module compiled for one feed; each calling thread has its own request.

    ``calls`` of them run at once; more wait for each other.

    Bytes are normalised in the graph, by all of its threads, in passes that it makes anyway (measured, width
    16: 1 % of a call, against 5 to 7 % before it). Other types are normalised before it: in bf16 the graph
    keeps 8 bits of them.
    """

    overflowed: ClassVar[Tensor | None] = None  # it takes no fp16

    def __init__(
        self,
        module: nn.Module,
        runtime: Runtime,
        feed: Feed,
        example: tuple[int, ...],
    ) -> None:
        """Convert ``module``, whose smallest input has the shape ``example``, for ``feed``.

        Calls at once share the threads evenly, where no answer depends on how many these are.
        """
        precision, threads = runtime.precision, runtime.threads
        if precision not in _HINTS:
            raise InputError(f"backend openvino: no {precision} on a CPU; use bf16 or fp32")
        program = _program(module, feed, example)
        inside = feed.affine if feed.dtype == torch.uint8 else None
        self._before = None if inside else feed.affine
        if inside:
            program = _normalising(program, inside)
        streams = runtime.calls if _is_ordered(program) else 1
        self._compiled = _core().compile_model(program, "CPU", _settings(precision, threads, streams))
        self.calls = int(self._compiled.get_property("NUM_STREAMS"))  # no more than there are cores
        self._threads = threads
        # Made ahead: making one waits for the calls under way (measured).
        self._spare = [self._compiled.create_infer_request() for _ in range(self.calls + 1)]
        self._own = threading.local()

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, *spatial) of the feed's type to float32 logits, which this thread's next call overwrites."""
        request = self._request()
        if self._before:
            x = normalise.stored(x, self._before)
        result = request.infer({0: x.contiguous().numpy()}, share_inputs=True, share_outputs=True)
        return torch.from_numpy(result[0])

    def _request(self) -> Any:
        """This thread's own."""
        if not hasattr(self._own, "request"):
            try:
                self._own.request = self._spare.pop()  # from any thread: one step of the interpreter
            except IndexError:
                self._own.request = self._compiled.create_infer_request()
            if self._threads is not None and self.calls > 1:  # of what torch does before and after a call
                torch.set_num_threads(max(1, self._threads // self.calls))
        return self._own.request


def _settings(precision: str, threads: int | None, streams: int) -> dict[str, Any]:
    # Pinned threads of two processes land on the same cores (measured: two workers of one thread at half
    # their speed), and cannot leave one that another thread needs.
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "NUM_STREAMS": streams,
        "ENABLE_CPU_PINNING": False,
    }
    return settings if threads is None else {**settings, "INFERENCE_NUM_THREADS": threads}


def _is_ordered(program: Any) -> bool:
    return {op.get_type_name() for op in program.get_ops()} <= _ORDERED


def _program(module: nn.Module, feed: Feed, example: tuple[int, ...]) -> Any:
    """``module`` for the feed's shape, from float32."""
    openvino = _library()
    try:
        if module not in _converted:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch and openvino about each other's versions
                # Traced, sizes stay open; torch.export takes ten times as long to leave them open.
                trace: Any = torch.jit.trace
                traced = trace(fold_batch_norm(module), torch.zeros(example), check_trace=False)
                _converted[module] = openvino.convert_model(traced)
        program = _converted[module].clone()
        program.reshape(list(feed.shape))
    except Exception as error:  # noqa: BLE001 - a foreign program makes either raise anything
        reason = str(error).strip().split("\n", 1)[0][:200]
        raise InputError(f"backend openvino: cannot convert this network ({reason}); use eager") from None
    return program


def _normalising(program: Any, affine: Affine) -> Any:
    """``program`` with bytes as its input."""
    openvino = _library()
    from openvino import opset15 as ops  # noqa: PLC0415 - an optional dependency

    columns = (1, -1) + (1,) * (len(program.input(0).shape) - 2)
    offset, scale = (
        torch.tensor(v, dtype=torch.float32).view(columns).numpy() for v in (affine.offset, affine.scale)
    )

    floats = program.get_parameters()[0]
    stored = openvino.op.Parameter(openvino.Type.u8, floats.get_partial_shape())
    normalised = ops.multiply(ops.subtract(ops.convert(stored, "f32"), offset), scale)
    for reader in floats.output(0).get_target_inputs():
        reader.replace_source_output(normalised.output(0))
    return openvino.Model(program.get_results(), [stored])


@cache
def _core() -> Any:
    return _library().Core()


def _library() -> Any:
    # OpenVINO reports its use to its makers unless the machine's user has opted out. Nobody asked the people
    # whose images these are, so it finds no telemetry package and takes its own stub.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: cannot be imported
    with needed("fast", "backend openvino"):
        import openvino  # noqa: PLC0415 - an optional dependency

    return openvino
