"""What a YAML file or ``--set key=value`` may say about objects."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from unet_batch.engine.config import ExecutionConfig


def _listed(value: object) -> object:
    return (
        (value,)
        if isinstance(value, int | str) and not isinstance(value, bool) and value != "auto"
        else value
    )


Extents = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_listed)]
Names = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]


class ObjectsConfig(ExecutionConfig):
    """Which pixels make an object, beside who does the blocks.

    Attributes:
        classes: classes that have objects; None takes all but the border class and, where a pixel has one
            class, the first, which is the background.
        border: class that belongs to the nearest object (networks that learn interiors and borders apart);
            ``auto`` is the class named ``border`` where there is one, None is no class.
        reach: how many pixels an object grows into the border class.
        connectivity: pixels are neighbours that differ by one step on at most so many axes (1: by faces).
        dims: trailing axes that objects extend over; ``auto`` is the dimension of the network.
        smallest: objects of fewer pixels are left out.
        block: pixels that are done at once, one number or one per axis of ``dims``; ``auto`` takes the blocks
            of the masks. It changes no object.
    """

    classes: Names | None = None
    border: str | None = "auto"
    reach: int = Field(default=16, ge=1, le=1024)
    connectivity: Literal[1, 2, 3] = 1
    dims: Literal["auto", 2, 3] = "auto"
    smallest: int = Field(default=1, ge=1)
    block: Literal["auto"] | Extents = "auto"
