"""The viewer from Python: serve stores until told to stop, or draw one picture of them."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from unet_batch.atomic import atomic_write
from unet_batch.calls import checked
from unet_batch.viewing.config import ViewConfig
from unet_batch.viewing.scene import Scene
from unet_batch.viewing.server import Server

_DEFAULT = ViewConfig()


@checked
def view(
    stores: Sequence[str | Path] | str | Path, config: ViewConfig = _DEFAULT, *, difference: bool = False
) -> Server:
    """A page with ``stores`` in it, served from a thread of this process; its ``url`` opens it.

    Args:
        stores: images, masks, objects with their table (Parquet, after them) and GeoJSON outlines. An image
            brings its labels along, and masks inside an image that image.
        config: where to listen, and how the page looks at first.
        difference: add a layer that marks where the last two masks of classes differ.

    Returns:
        The running server: ``url`` is the link, ``stop()`` ends it, and so does leaving it as a context.

    Raises:
        MissingError, FormatError, InputError: stores that cannot be shown, or the client is not installed.
        OutputError: the address cannot be had.
    """
    paths = [stores] if isinstance(stores, str | Path) else list(stores)
    server = Server(Scene.open(paths, config, differing=difference), config)
    server.start()
    return server


def write_link(server: Server, path: Path) -> None:
    """Write the page's state to the JSON file ``path``: what neuroglancer calls a state, to keep or share.

    Raises:
        OutputError: the file cannot be written.
    """
    atomic_write(path, json.dumps(server.state(server.address), indent=1) + "\n")


def forwarding(server: Server, environ: Callable[[str], str | None] = os.environ.get) -> str | None:
    """The ``ssh`` line by which people elsewhere reach the page; None unless they came by SSH or SLURM."""
    if not server.config.is_local or not (environ("SSH_CONNECTION") or environ("SLURM_JOB_ID")):
        return None
    host = environ("SLURMD_NODENAME") or os.uname().nodename
    return f"ssh -N -L {server.port}:{server.config.bind}:{server.port} {host}"
