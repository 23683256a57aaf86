"""ONNX files through onnxruntime: on the CPU, or on a GPU where onnxruntime-gpu is installed.

A graph holds no code, but may name other files for its weights: only files of its own folder are read.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unet_batch.errors import CheckpointError, MissingError, text_of
from unet_batch.extras import needed

_KINDS = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16, "tensor(double)": torch.float64}


class OnnxNetwork(nn.Module):
    """A graph with one image as its input; several outputs come by name. Copies share the session."""

    def __init__(self, session: Any) -> None:
        super().__init__()
        self.session = session
        taken = session.get_inputs()[0]
        self.input, self.kind, self.shape = taken.name, _KINDS[taken.type], tuple(taken.shape)
        self.names = [one.name for one in session.get_outputs()]

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnnxNetwork":
        return self

    def double(self) -> "OnnxNetwork":
        """Itself: a graph computes in its own type."""
        return self

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """What the graph gives for ``x``, on its device; a dict where there are several outputs."""
        pixels = np.ascontiguousarray(x.detach().to("cpu", self.kind).numpy())
        found = [torch.from_numpy(one).to(x.device) for one in self.session.run(None, {self.input: pixels})]
        return found[0] if len(found) == 1 else dict(zip(self.names, found, strict=True))


def load_onnx(path: Path) -> nn.Module:
    """The network in the ONNX file at ``path``.

    Raises:
        MissingError: no such file.
        CheckpointError: no ONNX graph of one image, or one whose weights lie outside its folder.
        InputError: onnx or onnxruntime is not installed.
    """
    if not path.is_file():
        raise MissingError(f"{path}: no such file; check the path of the network")
    with needed("onnx", "an ONNX network"):
        import onnxruntime  # noqa: PLC0415 - an optional dependency

    content = checked_graph(path).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if torch.get_num_threads():
        options.intra_op_num_threads = torch.get_num_threads()
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    try:
        session = onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # noqa: BLE001 - onnxruntime raises anything on a damaged graph
        raise CheckpointError(
            f"{path}: onnxruntime cannot load it ({text_of(error, 200)}); export it again"
        ) from None
    taken = session.get_inputs()
    if len(taken) != 1 or taken[0].type not in _KINDS:
        listed = ", ".join(f"{one.name} {one.type}" for one in taken)
        raise CheckpointError(
            f"{path}: takes {listed}, not one image of floats; export its forward pass alone"
        )
    return OnnxNetwork(session)


def checked_graph(path: Path) -> Any:
    """The graph with the weights that lie beside it, none from elsewhere."""
    with needed("onnx", "an ONNX network"):
        import onnx  # noqa: PLC0415 - an optional dependency
        from onnx import external_data_helper as external  # noqa: PLC0415
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # noqa: BLE001 - protobuf raises anything
        raise CheckpointError(f"{path}: not an ONNX file ({text_of(error, 120)}); export it again") from None
    folder = path.resolve().parent
    for place in _places(model, external):
        inside = (folder / place).resolve()
        if not place or not inside.is_relative_to(folder) or not inside.is_file():
            raise CheckpointError(
                f"{path}: its weights lie in {place!r}, not in its own folder; export it as one file"
            )
    try:
        external.load_external_data_for_model(model, str(folder))
    except Exception as error:  # noqa: BLE001 - offsets past the end and the like
        raise CheckpointError(f"{path}: weights beside it cannot be read ({text_of(error, 120)})") from None
    return model


def _places(model: Any, external: Any) -> set[str]:
    """Files that tensors of the graph, also of graphs within it, lie in."""
    tensors = external._get_all_tensors(model)  # noqa: SLF001 - the only walk over all of them
    found = [tensor for tensor in tensors if external.uses_external_data(tensor)]
    return {next((e.value for e in tensor.external_data if e.key == "location"), "") for tensor in found}
