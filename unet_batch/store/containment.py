"""Containment: a path that a store's metadata names lies in that store, or it is not opened."""

from pathlib import Path, PurePosixPath

from unet_batch.errors import FormatError
from unet_batch.store.io_errors import is_local


def inside(store: str, inner: str) -> str:
    """The place of ``inner``, a relative path that came with ``store``, in that store.

    Raises:
        FormatError: it leads out of the store (absolute, a URL, over ``..`` or over a link), or is no name.
    """
    if not inner.isprintable():
        raise FormatError(f"{store}: its path {inner[:200]!r} is no name of a folder; mend the store")
    steps = PurePosixPath(inner)
    leaves = steps.is_absolute() or ".." in steps.parts or "://" in inner or "::" in inner
    if not leaves and is_local(store):
        leaves = not _resolved(Path(store, inner)).is_relative_to(_resolved(Path(store)))
    if leaves:
        raise FormatError(
            f"{store}: its path {inner[:200]!r} leads out of the store, so it is not opened; "
            "mend the store, or copy what belongs to it into it"
        )
    return f"{store.rstrip('/')}/{inner}"


def refuse_links(folder: Path) -> None:
    """Raise FormatError where something in ``folder``, whose files are written in place, is a link."""
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        if entry.is_symlink():
            raise FormatError(f"{entry}: a link, where a store has files of its own; remove it")


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # links in a circle
        raise FormatError(f"{path}: its links lead nowhere; remove them") from None
