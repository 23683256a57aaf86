"""Pictures of nuclei and their instances as Zarr, and the sources that a training draws from.

Shapes: Y X pixels, C the three colours.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from PIL import Image as Picture

from unet_batch.errors import MissingError

# How often samples are drawn of each kind, within which every picture counts alike.
SHARES = {"fluo": 0.36, "HE_purple": 0.36, "brightfield_gray": 0.09, "tnbc": 0.13, "neuroblastoma": 0.06}
_OTHERS = {"tnbc": "n_nuclei_he_tnbc", "neuroblastoma": "n_nuclei_fluo_neuroblastoma"}
# Their instances were drawn askew by the distortion that made the pictures.
_ASKEW = ("distorted_0.02_rsigma0.5_sigma40_1010", "distorted_0.03_rsigma0.5_sigma40_1001",
          "distorted_0.03_rsigma0.5_sigma40_1032")  # fmt: skip
# Fields of the breast cancer pictures that are kept back, to be scored.
KEPT_BACK = ("1014", "deformed_alpha_1300_sigmoid_8_1012", "rotated_90_1006")


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture: what kind it is, what it serves (train, validation, test) and its two files."""

    kind: str
    use: str
    image: Path
    instances: Path

    @property
    def name(self) -> str:
        """A folder for its stores."""
        return f"{self.use}/{self.kind}/{self.image.stem}"


def entries(data: Path) -> list[Entry]:
    """All pictures under ``data``; of those sets that are there, but the first is needed.

    Raises:
        MissingError: no Data Science Bowl there.
    """
    found = list(_bowl(data / "b_dsb2018"))
    more = data / "b_dsb2018_more"
    if more.exists():
        found += [_entry(e["kind"], "train", more, e["file"]) for e in _index(more)]
    for kind, name in _OTHERS.items():
        for image in sorted((data / name / "images").glob("*.png")):
            if image.stem not in _ASKEW:
                use = "test" if kind == "tnbc" and image.stem in KEPT_BACK else "train"
                found.append(_entry(kind, use, data / name, image.name))
    return found


def sources(found: list[Entry], out: Path) -> list[dict[str, Any]]:
    """Stores of each picture under ``out``, written once, and a source of each for a training's YAML."""
    return [_source(entry, out, found) for entry in found]


def _bowl(folder: Path) -> Iterator[Entry]:
    uses = {"train": "train", "val": "validation"}
    for e in _index(folder):
        yield _entry(e["kind"], uses[e["split"]], folder / e["split"], e["file"])


def _index(folder: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(f"{folder}/index.json: no such file; give the folder with --data") from None
    return sorted(found, key=lambda e: (e["split"], e["file"]))


def _entry(kind: str, use: str, folder: Path, file: str) -> Entry:
    return Entry(kind, use, folder / "images" / file, folder / "instances" / file)


def _source(entry: Entry, out: Path, found: list[Entry]) -> dict[str, Any]:
    image, instances = (out / entry.name / f"{name}.zarr" for name in ("image", "instances"))
    pixels = _read(entry.image)
    if not instances.exists():
        _write(image, np.moveaxis(pixels, -1, 0) if pixels.ndim == 3 else pixels)
        _write(instances, _read(entry.instances))
    source = {"image": str(image), "labels": str(instances), "label_kind": "instances", entry.use: "all"}
    source |= {"channels": [0, 1, 2]} if pixels.ndim == 3 else {"channels": [0, 0, 0]}
    if entry.use == "train":
        alike = sum(other.kind == entry.kind and other.use == "train" for other in found)
        area = pixels.shape[0] * pixels.shape[1]
        source["repeat"] = round(1e6 * SHARES[entry.kind] / (alike * area), 6)
    return source


def _read(file: Path) -> NDArray[Any]:
    with Picture.open(file) as picture:
        found = np.asarray(picture)
    return found[..., :3] if found.ndim == 3 else found


def _write(path: Path, values: NDArray[Any]) -> None:
    names = tuple("cyx"[-values.ndim :])
    array = zarr.create_array(path, shape=values.shape, dtype=values.dtype, chunks=values.shape,
                              dimension_names=names)  # fmt: skip
    array[...] = values
