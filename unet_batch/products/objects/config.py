"""What a YAML file or ``--set key=value`` may say about objects."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from unet_batch.engine.config import ExecutionConfig
from unet_batch.models.instance_rules import InstanceRules


def _listed(value: object) -> object:
    return (
        (value,)
        if isinstance(value, int | str) and not isinstance(value, bool) and value != "auto"
        else value
    )


Extents = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_listed)]
Names = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]


class ObjectsConfig(InstanceRules, ExecutionConfig):
    """Which pixels make an object, and where its blocks are computed.

    Of ``reach``, ``connectivity`` and ``smallest``, what nobody sets is as the network's spec says.

    Attributes:
        classes: classes that have objects; None takes all but the border class and, where a pixel has one
            class, the first, which is the background.
        border: class that belongs to the nearest object (networks that learn interiors and borders apart);
            ``auto`` is the class named ``border`` where there is one, None is no class.
        dims: trailing axes that objects extend over; ``auto`` is the dimension of the network.
        block: pixels that are done at once, one number or one per axis of ``dims``; ``auto`` takes the blocks
            of the masks. It changes no object.
    """

    classes: Names | None = None
    border: str | None = "auto"
    dims: Literal["auto", 2, 3] = "auto"
    block: Literal["auto"] | Extents = "auto"
