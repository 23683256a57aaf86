"""What long campaigns measured: kept where the environment variable UNET_BATCH_RESULTS names a folder.

    UNET_BATCH_RESULTS=benchmarks/results make soak

Without it they measure and assert, and write nothing.
"""

import json
import os
from pathlib import Path
from typing import Any

VARIABLE = "UNET_BATCH_RESULTS"


def keep(name: str, key: str | None = None, **values: Any) -> None:
    """Put ``values``, with machine and versions, into NAME.json of that folder: whole, or under ``key``."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return
    from benchmarks.machine import facts

    path = Path(folder) / f"{name}.json"
    found = {**facts(), **values}
    if key is not None:
        held = json.loads(path.read_text()) if path.exists() else {}
        found = {**held, key: found}
    path.write_text(json.dumps(found, indent=2) + "\n")
