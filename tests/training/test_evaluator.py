# What validation scores as instances is what `objects` makes of the same classes.

import numpy as np
import torch

from tests.products.worlds import cells, write_masks
from unet_batch.models.spec import ModelSpec
from unet_batch.products.objects.config import ObjectsConfig
from unet_batch.products.objects.run import objects
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box
from unet_batch.training.config import ValidationConfig
from unet_batch.training.distributed import Ranks
from unet_batch.training.evaluator import Evaluator
from unet_batch.training.region_predictor import RegionPredictor

NAMES = ("background", "interior", "border")


def evaluator():
    spec = ModelSpec(in_channels=1, classes=NAMES, width=2, depth=1)
    cpu = torch.device("cpu")
    predictor = RegionPredictor(spec, cpu, None, tile=None, batch=1)
    return Evaluator(ValidationConfig(instances={}), spec, predictor, Ranks(0, 1, cpu), data_range=1.0)


def objects_of(folder, classes):
    masks = write_masks(folder / "masks", classes, names=NAMES)
    objects(masks, folder / "objects.parquet", ObjectsConfig(workers=0), labels=folder / "objects")
    return Masks.open(folder / "objects").read(Box.of_shape(classes.shape))[0]


def same_partition(one, other):
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return pairs.shape[1] == len(np.unique(one)) == len(np.unique(other))


def test_validation_labels_instances_as_objects_does(tmp_path):
    classes = cells((70, 90), 3)
    assert same_partition(evaluator()._labelled(classes, 255, 1), objects_of(tmp_path, classes))


def test_validation_ends_growth_at_the_reach_of_objects(tmp_path):
    classes = np.zeros((9, 80), np.uint8)
    classes[4, 5:60], classes[4, 3:5] = 2, 1
    found = evaluator()._labelled(classes, 255, 1)
    assert (found > 0).sum() == 2 + ObjectsConfig().reach
    assert same_partition(found, objects_of(tmp_path, classes))
