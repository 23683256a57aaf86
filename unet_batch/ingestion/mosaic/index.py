"""Which scenes touch a block: a spatial index over their spans. Reads no pixels."""

import numpy as np
from numpy.typing import NDArray

from unet_batch.extras import require
from unet_batch.ingestion.mosaic.plan import MosaicPlan
from unet_batch.ingestion.mosaic.scene import Scene
from unet_batch.tiling.box import Box


class SceneIndex:
    """An STR tree (Leutenegger 1997) over the scenes of a plan, as rectangles of columns and rows."""

    def __init__(self, plan: MosaicPlan) -> None:
        require("shapely", "geo", "a mosaic")
        import shapely  # noqa: PLC0415 - an optional package

        self.scenes = plan.scenes
        spans = np.array([scene.span for scene in plan.scenes], np.float64)
        self._box = shapely.box
        self._tree = shapely.STRtree(shapely.box(spans[:, 1], spans[:, 0], spans[:, 3], spans[:, 2]))

    def touching(self, box: Box) -> list[Scene]:
        """The scenes that have pixels in ``box`` (its last two axes), in the plan's order."""
        (top, left), (bottom, right) = box.start[-2:], box.stop[-2:]
        numbers = np.sort(self._tree.query(self._box(left, top, right, bottom)))
        found = [self.scenes[number] for number in numbers]
        flat = Box(box.start[-2:], box.stop[-2:])
        return [scene for scene in found if scene.box.intersect(flat).size]


def blocks_with_scenes(plan: MosaicPlan) -> NDArray[np.bool_]:
    """Which blocks of the grid any scene touches, as a mask of the grid's shape."""
    touched = np.zeros(plan.grid.counts, np.bool_)
    for scene in plan.scenes:
        inside = scene.box.intersect(Box.of_shape(plan.shape[-2:])).scale_down(plan.block[-2:])
        rows, columns = inside.slices
        touched[..., rows, columns] = True
    return touched
