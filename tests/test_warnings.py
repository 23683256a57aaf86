"""Warnings are errors in tests where they are about this package, not where dependencies warn each other."""

import warnings

import pytest


@pytest.mark.parametrize(
    ("module", "category"),
    [
        ("unet_batch", UserWarning),
        ("unet_batch.store.arrays", DeprecationWarning),
        ("tests.store.test_arrays", FutureWarning),
        ("numpy.lib._nanfunctions_impl", RuntimeWarning),
        ("sys", ResourceWarning),
    ],
)
def test_ours_are_errors(module, category):
    with pytest.raises(category):
        warnings.warn_explicit("told", category, "file.py", 1, module=module)


@pytest.mark.parametrize(
    ("module", "category"),
    [("zarr.core.array", DeprecationWarning), ("unet_batches", UserWarning), ("numpy", DeprecationWarning)],
)
def test_those_between_dependencies_are_not(module, category):
    with warnings.catch_warnings(record=True) as told:
        warnings.warn_explicit("told", category, "file.py", 1, module=module)
    assert [warning.category for warning in told] == [category]
