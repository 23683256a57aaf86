"""What `unet-batch ingest annotations` may be told."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from unet_batch.config import Compression
from unet_batch.engine.config import ExecutionConfig
from unet_batch.ingestion.config import Extent

Finite = Annotated[float, Field(allow_inf_nan=False)]
Size = Annotated[float, Field(ge=0, le=10_000)]


class AnnotationsConfig(ExecutionConfig):
    """How annotations are read and painted.

    Attributes:
        classes: class names in the order of their numbers; null: those found, ``rest`` first, then by name.
        rename: class of annotations by the name they bear, null to leave them out.
        property: the property or column that names the class, dotted where nested; null: ``classification``
            (QuPath), ``class`` or ``label``.
        rest: the class of pixels that no annotation covers; null: they stay unlabelled.
        instances: paint a number of its own for every annotation, 0 where there is none, as ``label_kind:
            instances`` of a training takes them; classes then only choose what is painted.
        order: what lies on top where annotations overlap: ``classes``, the later class; ``file``, the
            later annotation.
        coordinates: ``pixels`` (column, row from the image's outer corner, as QuPath writes them) or
            ``map``; ``auto`` takes the map where the image has a georeference.
        crs: of the annotations, where their file does not say.
        transform: a, b, c, d, e, f of x = a column + b row + c, y = d column + e row + f, where neither
            pixels nor the image's georeference say how annotations lie.
        layer: of a file that holds several.
        point_radius: pixels around a point; 0 paints the one that it lies in.
        line_width: pixels across a line; 0 paints those that it passes.
        all_touched: paint every pixel that a polygon touches, not those whose centre lies inside.
        planes: where annotations go that name no z or t: the ``first`` plane or ``all``.
        block: shard extent in pixels; null: the store's own.
        chunk: inner chunk extent; null: the store's own.
        compression: zstd, zstd:LEVEL, blosc-lz4 or none; always with a checksum.
    """

    classes: tuple[Annotated[str, Field(min_length=1)], ...] | None = Field(default=None, min_length=1)
    rename: dict[str, str | None] = Field(default_factory=dict)
    property: str | None = None
    rest: str | None = None
    instances: bool = False
    order: Literal["classes", "file"] = "classes"
    coordinates: Literal["auto", "pixels", "map"] = "auto"
    crs: str | None = None
    transform: tuple[Finite, Finite, Finite, Finite, Finite, Finite] | None = None
    layer: str | None = None
    point_radius: Size = 2.0
    line_width: Size = 3.0
    all_touched: bool = False
    planes: Literal["first", "all"] = "first"
    block: Extent | None = None
    chunk: PositiveInt | None = None
    compression: Compression = "zstd"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.instances and self.rest is not None:
            raise ValueError("`instances` are 0 where nothing is drawn; leave `rest` out")
        known = self.classes
        if known is not None and len(set(known)) != len(known):
            raise ValueError(f"classes {list(known)} name one twice; give every class its own name")
        for name in (self.rest, *self.rename.values()):
            if known is not None and name is not None and name not in known:
                raise ValueError(f"class {name!r} is not among classes {list(known)}; add it there")
        if self.transform is not None:
            a, b, _, d, e, _ = self.transform
            if a * e == b * d:
                raise ValueError(f"transform {list(self.transform)} cannot be inverted; mend it")
            if self.coordinates == "pixels":
                raise ValueError("`transform` and coordinates: pixels exclude each other; leave one out")
        return self
