# A listed class that no training box has is refused by name; what validation boxes lack is told.

import numpy as np
import pytest
import zarr

import unet_batch
from tests.training.data.labelled import coordinates, opened, spec_of, write_pair
from tests.training.run.worlds import Watch, config_of, values_of
from unet_batch.errors import InputError
from unet_batch.training.config import TrainConfig
from unet_batch.training.data.presence import absent, remarks, require_labelled


def binary(folder, high, names=("ground", "disc"), **source):
    labels = np.zeros((40, 50), np.uint8)
    labels[20:, :25] = high
    return opened(write_pair(folder, coordinates((40, 50)), labels, "yx", **source), spec_of(names))


def test_masks_of_0_and_255_are_refused_with_the_remap_that_reads_them(tmp_path):
    with pytest.raises(InputError, match=r"no labelled pixel of disc .* 0, 255, .*remap: \{255: 1\}") as told:
        require_labelled(binary(tmp_path, 255))
    assert "labels.zarr" in str(told.value)
    require_labelled(binary(tmp_path / "mended", 255, remap={255: 1}))


def test_a_class_too_many_is_named_with_what_the_labels_hold(tmp_path):
    sources = binary(tmp_path, 1, ("ground", "disc", "ring"))
    with pytest.raises(InputError, match=r"no labelled pixel of ring .*hold 0, 1;"):
        require_labelled(sources)
    require_labelled(sources, known=("ring",))
    assert "forget" in next(remarks(sources))


def test_what_validation_boxes_lack_is_told(tmp_path):
    sources = binary(tmp_path, 1, validation=[[[0, 20]]])
    assert absent(sources, "validation") == ["disc"]
    assert [text for text in remarks(sources) if "validation boxes have no pixel of disc" in text]
    alone = binary(tmp_path / "alone", 1)
    assert [text for text in remarks(alone) if text.startswith("no validation boxes")]


def test_training_refuses_before_its_first_step_and_leaves_no_state(world, tmp_path):
    spec = {"in_channels": 1, "classes": ["ground", "disc", "ring"], "width": 2, "depth": 1}
    with pytest.raises(InputError, match="no labelled pixel of ring"):
        unet_batch.train(config_of(world, tmp_path / "run", model={"spec": spec}))
    assert not (tmp_path / "run" / "state.pt").exists()


def test_bool_labels_and_images_train_as_0_and_1(world, tmp_path):
    labels = zarr.open_array(world / "labels.zarr", mode="r")[...]
    for name, pixels in (("labels.zarr", labels > 0), ("image.zarr", labels > 0)):
        zarr.create_array(tmp_path / name, data=pixels, chunks=(1, 64, 64), dimension_names=["z", "y", "x"])
    watch, values = Watch(), values_of(tmp_path, tmp_path / "run", run={"steps": 5})
    values["data"]["sources"][0]["validation"] = []
    result = unet_batch.train(TrainConfig.model_validate(values), hooks=watch.hooks)
    assert result.finished
    assert [text for text in watch.messages if text.startswith("no validation boxes")]
