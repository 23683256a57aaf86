"""Virtual stains: redraws a labelled image of nuclei as an immunohistochemistry slide, for training.

Nuclei keep their shapes and texture and turn haematoxylin blue; their surroundings may turn DAB brown.
Absorbances of stains add up (Beer-Lambert; Ruifrok and Johnston 2001). No network here.

Shapes: Y X pixels, C the three colours.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import find_boundaries

Field = NDArray[np.float32]
Labels = NDArray[np.uint8]
Pixels = NDArray[np.uint8]

HAEMATOXYLIN = np.array([0.65, 0.62, 0.29], np.float32)
DAB = np.array([0.27, 0.50, 0.80], np.float32)


def restained(pixels_YXC: Pixels, numbers_YX: NDArray[Any], rng: np.random.Generator) -> Pixels:
    """An 8-bit RGB picture of nuclei (``numbers``: 0 and one for each) as immunohistochemistry."""
    nucleus, pixels = numbers_YX > 0, np.moveaxis(pixels_YXC, -1, 0).astype(np.float32)
    bright = nucleus.any() and pixels[:, nucleus].mean() > pixels[:, ~nucleus].mean()
    drawn = Stainer(rng).restain(pixels, _labels(numbers_YX), fluorescent=bool(bright))
    return np.moveaxis(np.clip(drawn, 0, 255), 0, -1).round().astype(np.uint8)


def _labels(numbers_YX: NDArray[Any]) -> Labels:
    border = find_boundaries(numbers_YX, mode="inner")
    return np.where(border, 2, numbers_YX > 0).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Stainer:
    """Draws every random choice from ``rng``."""

    rng: np.random.Generator

    def restain(self, pixels_CYX: Field, labels_YX: Labels, *, fluorescent: bool) -> Field:
        """The image (0 to 255) as if stained otherwise. ``fluorescent``: nuclei are bright, not dark."""
        amount = _nuclear_stain(pixels_CYX, labels_YX, fluorescent=fluorescent)
        blue, brown = self._vector(HAEMATOXYLIN), self._vector(DAB)
        absorbance = self.rng.uniform(0.0, 0.12) + self.rng.uniform(0.0, 0.06, (3, 1, 1))
        absorbance = absorbance + amount * self.rng.uniform(0.12, 0.6) * blue
        absorbance = absorbance + self._stroma(amount.shape) * blue
        if self.rng.random() < 0.85:
            absorbance = absorbance + self._dab(labels_YX) * brown
        return np.asarray(255 * 10.0**-absorbance, np.float32)

    def _vector(self, mean: NDArray[np.float32]) -> Field:
        vector = mean * self.rng.uniform(0.8, 1.2, 3).astype(np.float32)
        return np.asarray(vector / np.linalg.norm(vector), np.float32)[:, None, None]

    def _stroma(self, shape: tuple[int, ...]) -> Field:
        """Faint fibres that take a little haematoxylin."""
        fibres = np.clip(0.5 + 0.5 * self._fibres(shape, 2, 25), 0, 2)
        return np.asarray(self.rng.uniform(0.0, 0.12) * fibres, np.float32)

    def _dab(self, labels_YX: Labels) -> Field:
        """Brown cytoplasm and darker membranes in part of the image, mostly beside the nuclei."""
        shape = labels_YX.shape
        region = 1 / (1 + np.exp(-8 * (self._fibres(shape, 60, 60) - self.rng.normal(0, 0.8))))
        rough = self.rng.uniform(0.1, 0.4)
        cytoplasm = 0.7 + rough * (self._fibres(shape, 1.5, 12) + 0.7 * self._fibres(shape, 8, 8))
        ridges = np.exp(-((self._fibres(shape, 5, 20) / 0.12) ** 2))
        inside = _blurred((labels_YX == 1).astype(np.float32), 0.8)
        rim = _blurred((labels_YX > 0).astype(np.float32), 2.0) * (1 - inside)
        density = np.clip(cytoplasm, 0, 2) + self.rng.uniform(0, 1) * ridges + self.rng.uniform(0, 1) * rim
        free = 1 - self.rng.uniform(0.4, 0.97) * inside
        return np.asarray(self.rng.uniform(0.2, 0.9) * region * density * free, np.float32)

    def _fibres(self, shape: tuple[int, ...], thin: float, long: float) -> Field:
        """Gaussian noise of unit variance, smooth over ``thin`` pixels across and ``long`` along any way."""
        angle = self.rng.uniform(0, np.pi)
        y, x = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
        across, along = y * np.cos(angle) - x * np.sin(angle), y * np.sin(angle) + x * np.cos(angle)
        window = np.exp(-2 * np.pi**2 * ((across * thin) ** 2 + (along * long) ** 2) / 2)
        noise = np.fft.rfft2(self.rng.standard_normal(shape, np.float32)) * window
        field = np.fft.irfft2(noise, s=shape)
        return np.asarray((field - field.mean()) / (field.std() + 1e-6), np.float32)


def _nuclear_stain(pixels_CYX: Field, labels_YX: Labels, *, fluorescent: bool) -> Field:
    """How much stain there is: about 0 off the nuclei and 1 on a typical one."""
    mean = pixels_CYX.mean(0)
    signal = mean if fluorescent else -np.log10((mean + 1) / 256)
    low = np.median(signal[labels_YX == 0]) if (labels_YX == 0).any() else signal.min()
    nuclear = signal[labels_YX == 1]
    high = np.median(nuclear) if nuclear.size else signal.max()
    return np.asarray(np.clip((signal - low) / max(high - low, 1e-2), -0.1, 2.0), np.float32)


def _blurred(field_YX: Field, sigma: float) -> Field:
    y, x = np.fft.fftfreq(field_YX.shape[0])[:, None], np.fft.rfftfreq(field_YX.shape[1])[None]
    window = np.exp(-2 * (np.pi * sigma) ** 2 * (y**2 + x**2))
    return np.asarray(np.fft.irfft2(np.fft.rfft2(field_YX) * window, s=field_YX.shape), np.float32)
