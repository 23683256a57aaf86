"""The published networks by name, as spec values that other keys override, and defaults per architecture."""

from typing import Any

ARCHITECTURE_DEFAULTS: dict[str, dict[str, Any]] = {
    "ternausnet": {"width": 32, "depth": 5, "padding": "same"},
    "smp": {"padding": "same"},
    "monai": {"padding": "same"},
    "nnunet": {"padding": "same"},
}

PRESETS: dict[str, dict[str, Any]] = {
    # Ronneberger et al. 2015, arXiv:1505.04597: 572 -> 388 px, 31,030,658 parameters.
    "unet-2015": {
        "dims": 2,
        "in_channels": 1,
        "classes": ["background", "foreground"],
        "width": 64,
        "depth": 4,
        "padding": "valid",
        "norm": "none",
    },
    # Cicek et al. 2016, arXiv:1606.06650: 132 x 132 x 116 -> 44 x 44 x 28 voxels, 19,069,955 parameters.
    "unet3d-2016": {
        "dims": 3,
        "in_channels": 3,
        "classes": ["background", "inside", "border"],
        "width": 32,
        "depth": 3,
        "padding": "valid",
        "norm": "batch",
        "growth": "before_pool",
        "up_channels": "kept",
        "up_bias": False,
    },
    # Iglovikov and Shvets 2018, arXiv:1801.05746: VGG11 encoder.
    "ternausnet-11": {
        "architecture": "ternausnet",
        "in_channels": 3,
        "classes": ["background", "foreground"],
    },
}
