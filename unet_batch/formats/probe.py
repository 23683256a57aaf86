"""A first reading in a child process, so that a hostile file can crash, hang or eat memory only there.

`python -m unet_batch.formats.probe SRC CONFIG_JSON` is the child; `probe` starts it. It decodes small
images wholly and of large ones the first and the last pixel. It writes nothing.
"""

import json
import os
import resource
import subprocess
import sys
from math import prod
from pathlib import Path

from unet_batch import errors
from unet_batch.errors import FormatError, UnetBatchError
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.opening import file_of, foreign, open_reader
from unet_batch.tiling.box import Box

TIMEOUT_S = 30
MEMORY_LIMIT = 4 * 2**30
"""Address space of the child, beside the mapped file itself."""
SMALL = 64 * 2**20
"""Decoded bytes up to which an image is decoded wholly."""


def probe(path: str | Path, config: ReadConfig, timeout_s: float = TIMEOUT_S) -> None:
    """Reads a file once in a child process.

    Raises:
        UnetBatchError: what reading it raised in the child.
        FormatError: the child crashed or took longer than ``timeout_s``.
    """
    command = [
        sys.executable,
        "-m",
        __spec__.name,
        str(path),
        json.dumps(config.model_dump(mode="json", include=set(ReadConfig.model_fields))),
    ]
    # One thread each: the thread pools of numeric libraries would count against the child's memory.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    try:
        child = subprocess.run(command, env=environment, capture_output=True, timeout=timeout_s, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise FormatError(
            f"{path}: reading its first and last pixels takes over {timeout_s:g} s; damaged, re-save it tiled"
        ) from None
    if child.returncode != 0:
        raise FormatError(
            f"{path}: its decoder crashed (exit {child.returncode}); the file is damaged, write it again"
        )
    _raise_reported(child.stdout)


def read_once(path: str | Path, config: ReadConfig) -> None:
    """What the child does: all pixels of a small image, the corners of a large one."""
    with open_reader(path, config) as reader, foreign(path):
        whole = Box.of_shape(reader.shape)
        if prod(reader.shape) * reader.channels * reader.dtype.itemsize <= SMALL:
            reader.read(whole)
            return
        reader.read(Box(whole.start, (1,) * whole.ndim))
        reader.read(Box(tuple(n - 1 for n in whole.stop), whole.stop))


def _raise_reported(report: bytes) -> None:
    told = json.loads(report)
    if told is not None:
        kind = getattr(errors, told["error"], FormatError)
        raise kind(told["message"])


def main(path: str, config: ReadConfig) -> None:
    """Reports on standard output: null, or the error as JSON."""
    local = file_of(path)
    limit = MEMORY_LIMIT + (local.stat().st_size if local.is_file() else 0)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    told = None
    try:
        read_once(path, config)
    except UnetBatchError as error:
        told = {"error": type(error).__name__, "message": str(error)}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], ReadConfig.model_validate(json.loads(sys.argv[2])))
