"""Instances: objects made of masks with a border class, which are exported in place of its regions.

They are made by ``objects``, so by the rules of the network's spec, in ``OUT.instances``, and stay there
until the export is whole. Their names are those of what decides them, so a stopped export finds them again.
"""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from unet_batch.engine.config import ExecutionConfig
from unet_batch.engine.progress import Hooks, Reporter
from unet_batch.products.export.config import ExportConfig
from unet_batch.products.objects.config import ObjectsConfig
from unet_batch.products.objects.plan import BORDER, ObjectsPlan, make_plan
from unet_batch.products.objects.run import objects
from unet_batch.store.masks import Masks
from unet_batch.store.origin import image_of


@dataclass(frozen=True, slots=True)
class Instances:
    """Objects of ``masks`` for the export to ``out``, and the settings that export them."""

    masks: Masks
    out: Path
    plan: ObjectsPlan
    config: ExportConfig

    @classmethod
    def of(cls, masks: Masks, out: Path, config: ExportConfig) -> "Instances | None":
        """What is exported in place of the classes; None where those are exported themselves.

        Raises:
            InputError: instances are asked for, and the masks cannot have them.
        """
        if masks.layout.kind not in ("multiclass", "multilabel") or config.instances is False:
            return None
        plan = make_plan(masks, None, _settings(config))
        if config.instances == "auto" and (
            plan.border is None or plan.planes > 1 or _names_border(masks, config)
        ):
            return None
        return cls(masks, out, plan, config)

    @property
    def folder(self) -> Path:
        """Where they are until the export is whole."""
        return self.out.with_name(f"{self.out.name}.instances")

    @property
    def store(self) -> Path:
        """Their numbers, pixel by pixel."""
        return self.folder / f"{self.plan.hash[:16]}.zarr"

    @property
    def exported(self) -> ExportConfig:
        """The settings of an export of them: their table, and what only the masks tell."""
        names = self.masks.layout.names
        classes = self.config.classes
        known = classes and tuple(names[one] if isinstance(one, int) else one for one in classes)
        image = image_of(self.masks, self.config.image)
        own = {"table": str(self.store.with_suffix(".parquet")), "classes": known}
        return self.config.model_copy(update={**own, "image": None if image is None else str(image)})

    def make(self, hooks: Hooks) -> bool:
        """Find them, or what is left of them to find. False where this was stopped."""
        Reporter(hooks).notify("the masks have a border class: instances are exported")
        self.folder.mkdir(exist_ok=True)
        table = self.store.with_suffix(".parquet")
        return objects(
            self.masks.path, table, _settings(self.config), labels=self.store, hooks=hooks
        ).finished

    def discard(self) -> None:
        """Remove them."""
        with suppress(OSError):
            shutil.rmtree(self.folder)


def _settings(config: ExportConfig) -> ObjectsConfig:
    execution = config.model_dump(include={*ExecutionConfig.model_fields}, exclude={"overwrite"})
    return ObjectsConfig(**execution)


def _names_border(masks: Masks, config: ExportConfig) -> bool:
    named = {masks.layout.names.index(BORDER), BORDER} if BORDER in masks.layout.names else set()
    return bool(named & set(config.classes or ()))
