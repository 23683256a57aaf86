"""The sheet is a picture for every kind of sample."""

import matplotlib.image
import numpy as np
import pytest
import torch

from unet_batch.errors import OutputError
from unet_batch.models.spec import ModelSpec
from unet_batch.training.batch import Sample
from unet_batch.training.batch_sheet import batch_sheet


def spec_of(**keys):
    return ModelSpec.model_validate(
        {"in_channels": 1, "classes": ["background", "b", "c"], "width": 2, **keys}
    )


def shown(sample, spec, path):
    batch_sheet(sample, spec, path / "sheet.png", ["first[0:2]"])
    return matplotlib.image.imread(path / "sheet.png")


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("head", ["multiclass", "multilabel", "regression"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_sample_is_drawn(tmp_path, dims, head, channels):
    size = (12,) * dims
    labels = torch.randint(0, 2, (3, *(() if head == "multiclass" else (3,)), *size))
    weights = torch.rand((3, *size)) if channels == 1 else None
    images = torch.randn((3, channels, *(20,) * dims))
    sample = Sample(images, labels.float() if head == "regression" else labels, weights)
    picture = shown(sample, spec_of(dims=dims, in_channels=channels, head=head), tmp_path)
    assert picture.shape[2] == 4
    assert picture[..., :3].std() > 0.05
    assert [file.name for file in tmp_path.iterdir()] == ["sheet.png"]


def test_labels_and_the_unlabelled_are_told_apart(tmp_path):
    images = torch.zeros((1, 1, 8, 8))
    images[..., 0] = 1
    labels = torch.full((1, 8, 8), 255)
    grey = shown(Sample(images, labels, None), spec_of(), tmp_path)
    class_1 = shown(Sample(images, torch.ones_like(labels), None), spec_of(), tmp_path)
    assert not np.array_equal(grey, class_1)


def test_a_place_that_cannot_be_written(tmp_path):
    sample = Sample(torch.zeros((1, 1, 8, 8)), torch.zeros((1, 8, 8), dtype=torch.int64), None)
    with pytest.raises(OutputError, match="choose another output"):
        batch_sheet(sample, spec_of(), tmp_path / "nowhere" / "sheet.png")
