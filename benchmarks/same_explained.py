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
    (
        "*",
        "*/runs.jsonl",
        "*remarks: only after",
        "a run keeps what was done otherwise than planned, such as smaller tiles where memory ended",
    ),
    (
        "*",
        "answer",
        "notes: *",
        "of a file with several images the others are named in a note",
    ),
    (
        "ingest map",
        "answer",
        "nodata: 0 -> ?0?",
        "a file may have several values without data, so they are a list",
    ),
    (
        "ingest array",
        "*",
        "*",
        "NaN is no data in images of floats, and their fill value: pixels are the same, not what pads the "
        "last chunks, nor fill_value and what is said of it",
    ),
    (
        "predict two networks, turned",
        "*",
        "*plan*",
        "NaN is no data in images of floats, so the image's identity and the plan with it are others",
    ),
    (
        "objects*",
        "objects.zarr/zarr.json",
        "attributes.unet_batch.provenance.level: only after",
        "objects keep the level of the image whose pixels their masks have",
    ),
    (
        "annotations",
        "*/zarr.json",
        "attributes.unet_batch.annotations.*: only *",
        "who paints the blocks is no part of what labels say of themselves; new settings are",
    ),
    (
        "model new *",
        "*.safetensors/*",
        "__metadata__.spec: *",
        "a spec says how blocks are built (`blocks: plain`), and how instances are made of its masks",
    ),
    (
        "model info",
        "answer",
        "*",
        "a spec says how blocks are built (`blocks: plain`), and how instances are made of its masks",
    ),
    (
        "*",
        "*/zarr.json",
        "attributes.unet_batch.plan.model.spec.*: only after",
        "the same key in the plan, which compares as the older code's with its default",
    ),
    (
        "*",
        "*",
        "*plan_hash: *",
        "the hash of a plan whose spec has more keys; stores are compared by the plan and go on",
    ),
    (
        "*",
        "*/ledger/zarr.json",
        "attributes.ledger.*: only after",
        "a ledger keeps what opens it when one of its files is torn",
    ),
    (
        "ingest *",
        "*/zarr.json",
        "attributes.unet_batch.source: only after",
        "an image keeps what its file says of objective, scanner and stain",
    ),
    (
        "report",
        "report.html/.",
        "21: *",
        "the command leaves out who computes the blocks, which whoever repeats it knows best",
    ),
    (
        "*",
        "*/zarr.json",
        "attributes.unet_batch.plan.image.*: only after",
        "a plan's image may be a foreign file, read without a copy: its series, axes and sampling",
    ),
    (
        "*",
        "*/zarr.json",
        "attributes.unet_batch.provenance.*: only after",
        "the same in the record of where it comes from",
    ),
)
