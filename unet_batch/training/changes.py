"""What differs between a training that is done and what is asked for now: its settings and its labels."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from unet_batch.config import read_yaml, validate
from unet_batch.errors import UnetBatchError
from unet_batch.store.image import Image
from unet_batch.training.config import TrainConfig
from unet_batch.training.files import RunFolder, write_json

# None of these changes what is learnt; of `run.steps` more are simply gone on with.
_NO_MATTER = {
    "run": {"out", "steps", "device", "join_seconds", "checkpoint_every", "overwrite"},
    "sampling": {"threads", "prefetch"},
    "data": {"cache_mb"},
    "validation": {"batch"},
}
_NAMED = 4


def keep_labels(folder: RunFolder, config: TrainConfig) -> None:
    """Keep what tells later whether labels have changed."""
    write_json(folder.labels, _stamps(config))


def changes(folder: RunFolder, config: TrainConfig) -> str:
    """What differs, for people; empty where nothing does, or where an older run did not keep it."""
    found = [*_settings(folder, config), *_labels(folder, config)]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return "; ".join(found[:_NAMED]) + more


def _settings(folder: RunFolder, config: TrainConfig) -> Iterator[str]:
    try:
        before = validate(TrainConfig, read_yaml(folder.settings), str(folder.settings))
    except UnetBatchError:
        return
    now, then = (
        dict(_flat(one.model_dump(mode="json", by_alias=True, exclude=_NO_MATTER)))
        for one in (config, before)
    )
    for key in dict.fromkeys([*now, *then]):
        if now.get(key) != then.get(key):
            yield f"{key} is {_short(now.get(key))}, there {_short(then.get(key))}"


def _labels(folder: RunFolder, config: TrainConfig) -> Iterator[str]:
    try:
        before = json.loads(folder.labels.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    for path, stamp in _stamps(config).items():
        if isinstance(before, dict) and before.get(path, stamp) != stamp:
            yield f"{path} has changed since"


def _stamps(config: TrainConfig) -> dict[str, str]:
    return {source.labels: _stamp(source.labels, source.level) for source in config.data.sources}


def _stamp(path: str, level: int) -> str:
    try:
        image = Image.open(path, level=level)
    except UnetBatchError:  # a plain array whose axes have no names, or none at all: said elsewhere
        return ""
    return image.array.stamp()


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{key}.")
        else:
            yield before + key, value


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
