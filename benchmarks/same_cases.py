"""The commands of `same_bytes.py`, in order: later ones work on what earlier ones wrote."""

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

SERIAL = ("workers=0", "threads=1")
FIXED = (
    *SERIAL,
    "device=cpu",
    "backend=eager",
    "precision=fp32",
    "tile=64",
    "batch=4",
    "block=256",
    "chunk=128",
)
SMALL = (*FIXED[:-2], "block=64", "chunk=64")
LAYOUT = ("block=256", "chunk=128")
NETWORKS = {"valid": "valid", "same": "same", "volume": "volume", "both": "both", "more": "valid"}  # by spec
LAYERS = ("probabilities=true", "confidence=true")
FORMATS = {
    "tiled": "tiled.tif",
    "striped": "striped.tif",
    "plain": "plain.tif",
    "slide": "slide.svs",
    "volume": "volume.ome.tif",
    "series": "series.ome.tif",
    "picture": "picture.png",
    "array": "array.npy",
    "map": "map.tif",
}
RULES = {
    "first": ("collar=0",),
    "mean": ("resampling=cubic",),
    "median": ("crs=EPSG:32633", "resolution=15"),
    "best": ("quality=3", "prefer=low"),
    "feather": ("feather=40", "bands=[1, 3]", "count=false"),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One command and what it writes, relative to the folder that it runs in.

    Attributes:
        killed: also begun by the old code, killed there, and finished by the new.
        code: the exit code that belongs to it.
        named: what the new code must be told, as it opens nothing that a store alone names.
    """

    name: str
    words: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    killed: bool = False
    code: int = 0
    named: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """Outputs, and what GDAL looks for beside a TIFF."""
        return (*self.outputs, *(f"{name}.aux.xml" for name in self.outputs if name.endswith(".tif")))


def case(name: str, words: str, *settings: str, killed: bool = False) -> Case:
    """A command in which ``@`` marks the words that are its outputs."""
    given = words.split()
    outputs = tuple(word[1:] for word in given if word.startswith("@"))
    options = tuple(word for item in settings for word in ("--set", item))
    return Case(name, (*(word.removeprefix("@") for word in given), *options), outputs, killed)


def networks() -> list[Case]:
    """Those that predictions take."""
    made = "model new {}.yaml @{}.safetensors --seed {}"
    return [
        case(f"model new {name}", made.format(spec, name, int(name != spec)))
        for name, spec in NETWORKS.items()
    ]


def cases() -> list[Case]:
    """All others."""
    return [*ingests(), *predictions(), *exports(), *products(), *asked()]


def chosen(pattern: str) -> list[Case]:
    """Those whose name fits, and those whose outputs they work on."""
    kept: list[Case] = []
    for one in reversed(cases()):
        words = [word for later in kept for word in later.words]
        wanted = any(word.startswith(output) for output in one.outputs for word in words)
        if wanted or fnmatchcase(one.name, pattern):
            kept.insert(0, one)
    return kept


def ingests() -> list[Case]:
    """Files, mosaics, annotations."""
    scenes = "ingest mosaic scenes @mosaic_"
    tiles = ("block=64", "chunk=64")
    drawn = "ingest annotations tiled.zarr drawn.geojson"
    classes = "classes=[background, nucleus, border]"
    return [
        *(
            case(f"ingest {name}", f"ingest {file} @{name}.zarr", *LAYOUT, *axes(name))
            for name, file in FORMATS.items()
        ),
        case("ingest small blocks", "ingest tiled.tif @again.zarr", *tiles, "workers=0", killed=True),
        case("ingest level", "ingest slide.svs @coarse.zarr", "level=1", "levels=2", "compression=blosc-lz4"),
        *(
            case(f"mosaic {rule}", f"{scenes}{rule}.zarr", *SERIAL, *tiles, f"rule={rule}", *given)
            for rule, given in RULES.items()
        ),
        case(
            "mosaic by workers",
            f"{scenes}workers.zarr",
            "workers=2",
            "threads=1",
            *tiles,
            "rule=mean",
            killed=True,
        ),
        case("annotations", f"{drawn} @truth.zarr", "rest=background", classes, *LAYOUT),
    ]


def axes(name: str) -> tuple[str, ...]:
    """What a file does not say itself."""
    return ("axes=cyx",) if name == "array" else ()


def predictions() -> list[Case]:
    """Networks, and each setting that decides bytes."""
    both = ("tta=true", "probabilities=true", "border=constant")
    deep = ("tile=[16, 32, 32]", "batch=2", "block=[16, 64, 64]", "chunk=16", "confidence=true")
    few = ("level=1", "skip_background={method: saturation, threshold: 0.4}")
    return [
        predicted("valid", "tiled", "valid", *FIXED, *LAYERS),
        predicted("region", "tiled", "valid", *SMALL, "roi=[[100, 700], [333, 901]]", killed=True),
        predicted("workers", "tiled", "valid", *SMALL, "workers=2", "roi=[[0, 500], [0, 500]]", killed=True),
        predicted("OpenVINO", "plain", "valid", *FIXED, "backend=openvino", "border=edge"),
        predicted("same padding", "striped", "same", *FIXED, "probabilities=true"),
        predicted("volume", "volume", "volume", *FIXED, *deep),
        predicted("stack by planes", "series", "same", *SMALL, "channels=[GFP]"),
        predicted("blend", "plain", "valid", *FIXED, "merge=blend", "overlap=0.25"),
        predicted("two networks, turned", "array", "valid", *FIXED, "tta=turns", "levels=2", more="more"),
        predicted("multilabel, flipped", "picture", "both", *FIXED, *both),
        predicted("no data", "map", "valid", *FIXED, "confidence=true"),
        predicted("background, level", "slide", "valid", *FIXED, *few),
        case("predict exported", "predict plain.zarr @out_exported.zarr --model exported.pt", *FIXED),
        inside(
            "predict into the image",
            "predict picture.zarr picture.zarr/labels/found --model valid.safetensors",
        ),
    ]


def inside(name: str, words: str) -> Case:
    """A prediction among the labels of its image, which is compared whole."""
    return replace(case(name, words, *FIXED), outputs=(words.split()[1],))


def predicted(
    name: str, image: str, network: str, *settings: str, killed: bool = False, more: str = ""
) -> Case:
    """A prediction into out_NAME.zarr."""
    out = "out_" + name.replace(", ", "_").replace(" ", "_")
    models = " ".join(f"--model {one}.safetensors" for one in (network, more) if one)
    return case(f"predict {name}", f"predict {image}.zarr @{out}.zarr {models}", *settings, killed=killed)


def exports() -> list[Case]:
    """Every kind, with place and without."""
    land = "out_no_data.zarr"
    return [
        case("export COG", f"export {land} @land.tif", *SERIAL),
        case("export COG, small tiles", "export out_valid.zarr @killed.tif", *SERIAL, "tile=64", killed=True),
        case("export probabilities", "export out_valid.zarr @values.tif", *SERIAL, "layer=probabilities"),
        case("export image", "export map.zarr @map_again.tif", *SERIAL),
        case("export parts", f"export {land} @parts/", *SERIAL, "part=512", "layer=confidence"),
        case("export OME-TIFF", "export out_volume.zarr @volume_again.ome.tif", *SERIAL),
        case("export plane", "export out_volume.zarr @plane.tif", *SERIAL, "plane.z=7"),
        case("export GeoJSON", f"export {land} @land.geojson", *SERIAL, "tolerance=1.0", "min_area=500"),
        case(
            "export GeoJSON, small blocks",
            "export out_valid.zarr @qupath.geojson",
            *SERIAL,
            "block=64",
            killed=True,
        ),
        case("export GeoParquet", f"export {land} @land.parquet", *SERIAL, "connectivity=8", "block=256"),
        case(
            "export GeoParquet, small blocks",
            "export out_valid.zarr @killed.parquet",
            *SERIAL,
            "block=64",
            killed=True,
        ),
        case("export GeoPackage", f"export {land} @land.gpkg", *SERIAL, "block=256"),
        case(
            "export GeoPackage, workers",
            "export out_valid.zarr @workers.gpkg",
            "workers=2",
            "threads=1",
            "block=256",
        ),
    ]


def products() -> list[Case]:
    """Objects, their polygons, areas, pictures, pages."""
    land = "out_no_data.zarr"
    return [
        case(
            "objects",
            "objects out_valid.zarr @objects.parquet --image tiled.zarr --labels @objects.zarr",
            *SERIAL,
            "smallest=4",
            killed=True,
        ),
        case(
            "objects by workers",
            f"objects {land} @places.parquet",
            "workers=2",
            "threads=1",
            "border=null",
            "block=128",
        ),
        case("objects of a volume", "objects out_volume.zarr @solids.parquet", *SERIAL, "connectivity=3"),
        case("objects as polygons", "export objects.zarr @cells.geojson", *SERIAL),
        case("stats by zones", f"stats {land} @zones.parquet --zones zones.geojson", *SERIAL, "zone=name"),
        case(
            "stats and truth",
            "stats out_valid.zarr @agreement.csv --reference truth.zarr",
            *SERIAL,
            killed=True,
        ),
        case("preview", "preview tiled.zarr out_valid.zarr @seen.png"),
        case("preview part", f"preview map.zarr {land} @part.png --box 100:400,200:500"),
        case("evaluate", "evaluate out_valid.zarr truth.zarr"),
        replace(case("report", "report out_valid.zarr @report.html"), named=("--image", "tiled.zarr")),
    ]


def asked() -> list[Case]:
    """What is told of stores and networks; the new code is asked about stores of the old code too."""
    return [
        case("info", "info map.zarr"),
        case("info of a file", "info slide.svs"),
        case("model info", "model info valid.safetensors"),
        case("status", "status out_valid.zarr"),
        case("verify", "verify out_valid.zarr"),
        replace(
            case("verify untiled", "verify out_blend.zarr --untiled 2"),
            named=("--image", "plain.zarr", "--model", "valid.safetensors"),
        ),
        replace(predicted("valid", "tiled", "valid", *FIXED, *LAYERS), name="predict a finished store"),
    ]
