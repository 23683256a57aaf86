"""Differences that `same_bytes.py` finds and that are meant: case, file and words as globs, and why.

A case that begins with the old code is named ``CASE | begun by the old code``. Where what a command answers
differs, the file is ``answer``.
"""

EXPLAINED: tuple[tuple[str, str, str, str], ...] = (
    (
        "model new *",
        "*.safetensors/*",
        "__metadata__.sha256: only after",
        "checkpoints carry a checksum of their weights and spec",
    ),
    (
        "*",
        "*/zarr.json",
        "attributes.unet_batch.provenance.settings.*: only after",
        "a setting that is new, with its default, in the record of what was asked",
    ),
)
