"""Tensors of a simulated device: each operation is one piece of work in the current stream's order."""

import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from unet_batch.devices.simulated_stream import Clock, Stamp

if TYPE_CHECKING:
    from unet_batch.devices.simulated import SimulatedDevice
    from unet_batch.devices.simulated_stream import SimulatedStream

ATEN = torch.ops.aten


def _convolution_relu(x: Tensor, weight: Tensor, *words: Any) -> Tensor:
    bias, stride, padding, dilation, groups = words
    none = [0] * len(stride)
    found: Tensor = ATEN.convolution(x, weight, bias, stride, padding, dilation, False, none, groups)
    return found.relu()


COMPUTED = {ATEN.cudnn_convolution_relu.default: _convolution_relu}  # what the CPU has no kernel for


UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)
NOT_UNSIGNED = (ATEN.flip.default, ATEN.index.Tensor, ATEN.add.Tensor, ATEN.mul.Tensor)  # on CUDA devices


def poison(tensor: Tensor) -> Tensor:
    """``tensor`` filled with what no one would take for a result."""
    if tensor.is_floating_point():
        return tensor.fill_(float("nan"))
    return tensor.fill_(True if tensor.dtype == torch.bool else 0xAB if tensor.dtype == torch.uint8 else -85)


class Cell:
    """The memory of a tensor and its views: who wrote it last, and who has read it since."""

    def __init__(self, device: "SimulatedDevice", size: int, stream: int) -> None:
        self.device, self.size = device, size
        self.written: Stamp | None = None
        self.read: Clock = {}
        weakref.finalize(self, _given_back, device, size, stream, self.read)

    def ready(self, stream: "SimulatedStream", races: list[str]) -> bool:
        """Whether ``stream`` has waited for the last writer; it has read the memory then."""
        self.read[stream.number] = stream.clock.get(stream.number, 0) + 1
        known = {**stream.clock, **_later(stream.clock, self.device.host_clock)}
        if self.written is None or known.get(self.written[0], 0) >= self.written[1]:
            return True
        races.append(f"stream {stream.number} reads what stream {self.written[0]} writes, without waiting")
        return False

    def write(self, stream: "SimulatedStream", races: list[str]) -> Stamp:
        """``stream`` writes the memory, in one piece of work."""
        stamp = stream.launch()
        for number, count in self.read.items():
            if number != stream.number and stream.clock.get(number, 0) < count:
                races.append(f"stream {stream.number} writes what stream {number} reads, without waiting")
        self.read.clear()
        self.written = stamp
        return stamp


class SimulatedTensor(Tensor):
    """A tensor of a simulated device; torch computes its shape, `elem` holds its values."""

    elem: Tensor
    cell: Cell

    @staticmethod
    def __new__(cls, elem: Tensor, cell: Cell) -> "SimulatedTensor":
        """A tensor that looks like ``elem``."""
        made: SimulatedTensor = Tensor._make_wrapper_subclass(  # noqa: SLF001
            cls,
            elem.shape,
            strides=elem.stride(),
            storage_offset=elem.storage_offset(),
            dtype=elem.dtype,
            device=torch.device("meta"),  # a device that autograd serves and that has no memory
        )
        made.elem, made.cell = elem, cell
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]  # torch declares a plain attribute
        """A CUDA device, so that code takes the ways that it takes there."""
        return self.cell.device.place

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]  # torch declares a plain attribute
        """As of a CUDA tensor."""
        return True

    @property
    def is_meta(self) -> bool:  # type: ignore[override]  # torch declares a plain attribute
        """It has values."""
        return False

    def numpy(self, **_: Any) -> Any:
        """As a CUDA tensor has none."""
        raise TypeError(
            f"cannot convert a tensor of {self.cell.device.name} to numpy; copy it to the host first"
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """A copy on the same device; of a parameter, one."""
        made = self.detach().clone().requires_grad_(self.requires_grad)
        if isinstance(self, nn.Parameter):
            made._is_param = True  # noqa: SLF001 - as torch marks those of subclasses
        memo[id(self)] = made
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        """As a tensor of the host, so that a file of it can be read anywhere."""
        return self.cell.device.to_host(self).__reduce_ex__(protocol)  # type: ignore[no-untyped-call]

    def seen(self, stream: "SimulatedStream") -> Tensor:
        """Its values as ``stream`` sees them."""
        if self.cell.ready(stream, self.cell.device.races):
            return self.elem
        return poison(self.elem.clone())

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch's own stub is untyped
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """One operation: checked, put in order, computed."""
        kwargs = dict(kwargs or {})
        if func is ATEN._has_compatible_shallow_copy_type.default:  # noqa: SLF001 - as Module.to asks
            return False
        # Torch cannot make views of its own tensors by Python's while it infers; here there is no difference.
        with torch.inference_mode(False):
            return cls._done(func, args, kwargs)

    @classmethod
    def _done(cls, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        device = _device_of(func, args, kwargs)
        if func is ATEN.copy_.default:
            return _copied(device, args, kwargs)
        if func is ATEN._to_copy.default and _wants_host(kwargs):  # noqa: SLF001 - the name of the operation
            return device.to_host(args[0]).to(kwargs.get("dtype") or args[0].dtype)
        if func in (ATEN._local_scalar_dense.default, ATEN.equal.default):  # noqa: SLF001 - as above
            return func(*[device.to_host(arg) if isinstance(arg, cls) else arg for arg in args])
        return _computed(device, func, args, kwargs)


def wrapped(elem: Tensor, cell: Cell) -> SimulatedTensor:
    """``elem`` as a tensor of the cell's device."""
    return SimulatedTensor(elem, cell)


class Recorded(NamedTuple):
    """An operation of a captured program."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Any


def replayed(device: "SimulatedDevice", recording: list[Recorded]) -> None:
    """The recorded operations again, into the memory that they wrote."""
    for one in recording:
        if one.func is ATEN.copy_.default:
            _copied(device, one.args, one.kwargs)
            continue
        again = _computed(device, one.func, one.args, one.kwargs)
        for old, new in zip(tree_flatten(one.out)[0], tree_flatten(again)[0], strict=True):
            if isinstance(old, SimulatedTensor) and old.elem.data_ptr() != new.elem.data_ptr():
                old.elem.copy_(new.elem)
                old.cell.written = new.cell.written


def _computed(device: "SimulatedDevice", func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    stream, written = device.current, _written(func, args, kwargs)
    if kwargs.get("device") is not None:
        kwargs["device"] = torch.device("cpu")
    inputs = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, SimulatedTensor)]
    if func in NOT_UNSIGNED and inputs[0].dtype in UNSIGNED:
        raise NotImplementedError(f"{func} not implemented for {inputs[0].dtype} on {device.name}")

    def plain(one: Any) -> Any:
        if isinstance(one, Tensor) and one.is_meta and not isinstance(one, SimulatedTensor):
            return torch.zeros(one.shape, dtype=one.dtype)  # autograd's own, for what has no gradient
        if not isinstance(one, SimulatedTensor):
            return one
        return one.elem if any(one is target for target in written) else one.seen(stream)

    out = COMPUTED.get(func, func)(*tree_map(plain, args), **tree_map(plain, kwargs))
    stamp = stream.launch()
    device.counts["kernels"] += 1
    for target in written:
        target.cell.write(stream, device.races)

    made = tree_map(lambda one: _simulated(device, one, inputs, stamp), out)
    if device.recording is not None:
        device.recording.append(Recorded(func, args, kwargs, made))
    return made


def _simulated(device: "SimulatedDevice", one: Any, inputs: list[SimulatedTensor], stamp: Stamp) -> Any:
    """A result as a tensor of the device: an argument itself, a view of one, or new memory."""
    if not isinstance(one, Tensor) or isinstance(one, SimulatedTensor):
        return one
    for known in inputs:
        if known.elem is one:
            return known
        if known.elem.untyped_storage().data_ptr() == one.untyped_storage().data_ptr():
            return SimulatedTensor(one, known.cell)
    cell = device.cell(one)
    cell.written = stamp
    return SimulatedTensor(one, cell)


def _copied(device: "SimulatedDevice", args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``target.copy_(source)`` between host and device, or on the device."""
    target, source = args[0], args[1]
    non_blocking = bool(args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
    if isinstance(target, SimulatedTensor) and isinstance(source, SimulatedTensor):
        target.elem.copy_(source.seen(device.current))
        target.cell.write(device.current, device.races)
    elif isinstance(target, SimulatedTensor):
        device.copy_in(target, source, non_blocking=non_blocking)
    else:
        device.copy_out(target, source, non_blocking=non_blocking)
    if device.recording is not None:
        device.recording.append(Recorded(ATEN.copy_.default, args, kwargs, None))
    return target


def _device_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "SimulatedDevice":
    """The one device of all tensors; numbers of the host may take part."""
    tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, Tensor)]
    devices = {one.cell.device for one in tensors if isinstance(one, SimulatedTensor)}
    hosts = [one for one in tensors if not isinstance(one, SimulatedTensor) and one.ndim and not one.is_meta]
    if len(devices) != 1 or (hosts and func is not ATEN.copy_.default):
        names = sorted({device.name for device in devices} | ({"cpu"} if hosts else set()))
        raise RuntimeError(
            f"{func}: expected all tensors to be on the same device, found {' and '.join(names)}"
        )
    return devices.pop()


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[SimulatedTensor]:
    """The arguments that an operation writes to, as its schema says."""
    return list(_tensors_written(func, args, kwargs))


def _tensors_written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[SimulatedTensor]:
    for place, argument in enumerate(func._schema.arguments):  # noqa: SLF001 - torch's only way to ask
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        value = args[place] if place < len(args) else kwargs.get(argument.name)
        yield from (one for one in tree_flatten(value)[0] if isinstance(one, SimulatedTensor))


def _wants_host(kwargs: dict[str, Any]) -> bool:
    wanted = kwargs.get("device")
    return wanted is not None and torch.device(wanted).type == "cpu"


def _later(clock: Clock, other: Clock) -> Clock:
    return {number: count for number, count in other.items() if count > clock.get(number, 0)}


def _given_back(device: "SimulatedDevice", size: int, stream: int, read: Clock) -> None:
    """Memory goes back to the stream that it was made on, which may write there in its next work."""
    device.used -= size
    known = device.streams[stream].clock
    for number, count in read.items():
        if number != stream and max(device.host_clock.get(number, 0), known.get(number, 0)) < count:
            device.races.append(f"memory of stream {stream} is given back while stream {number} reads it")
