"""Restain: a labelled picture of nuclei as if it were another kind of slide.

Nuclei keep their shapes and texture and turn haematoxylin blue or DAB brown; what surrounds them may turn
brown, pink or stay pale. Absorbances of stains add up (Beer-Lambert; Ruifrok and Johnston 2001). So a network
sees stains that no labelled picture at hand has.

Shapes: C the three colours, Y X pixels.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

HAEMATOXYLIN = (0.68, 0.63, 0.30)
DAB = (0.27, 0.50, 0.80)
EOSIN = (0.12, 0.95, 0.25)
# What the counterstain is, up to which draw from 0 to 1: brown around nuclei, brown nuclei, pink, or none.
_KINDS = (("cytoplasm", 0.52), ("nuclear", 0.64), ("eosin", 0.86), ("none", 1.0))
_CONTRAST = {
    True: 25.0,
    False: 0.08,
}  # least difference of nuclei from what surrounds them: grey values, density


@dataclass(frozen=True, slots=True)
class Restainer:
    """Draws every random choice from ``generator``, which lies on the device of the pictures."""

    generator: torch.Generator

    def __call__(self, rgb_CYX: Tensor, nucleus_YX: Tensor) -> Tensor:
        """The picture (values 0 to 255) with other stains; ``nucleus_YX``: where nuclei are."""
        near = self._soft(nucleus_YX)
        amount = _nuclear_stain(rgb_CYX, nucleus_YX)
        surroundings = amount * (1 - near)
        nuclear = (0.75 * amount + 0.25) * near + self._u(0.0, 0.5) * surroundings
        nuclear = nuclear * torch.exp(self._u(0.0, 0.4) * self._field(nuclear, 12, 30))
        density = self._u(0.0, 0.08) + torch.stack([self._u(0.0, 0.04) for _ in range(3)])[:, None, None]
        density = density + self._stroma(near) * self._vector(HAEMATOXYLIN)
        kind = self._kind()
        positive = torch.sigmoid(20 * (self._field(near, 12, 30) - self._u(-0.5, 1.0)))
        blue = nuclear * self._u(0.12, 0.65)
        if kind == "nuclear":
            density = density + nuclear * positive * self._u(0.25, 0.9) * self._vector(DAB)
            blue = blue * (1 - positive * self._u(0.3, 1.0))
        density = density + blue * self._vector(HAEMATOXYLIN)
        if kind == "cytoplasm":
            density = density + self._around(near, surroundings) * self._vector(DAB)
        elif kind == "eosin":
            density = density + self._texture(near, surroundings) * self._u(0.08, 0.4) * self._vector(EOSIN)
        return (256 * 10.0**-density - 1).clamp_(0, 255)

    def _around(self, near_YX: Tensor, surroundings_YX: Tensor) -> Tensor:
        """Brown cytoplasm with darker membranes, everywhere or in part of the picture."""
        slope, part = self._u(6.0, 30.0), self._field(near_YX, 25, 60) - self._u(-0.8, 0.8)
        region = torch.sigmoid(slope * part) if self._u(0, 1) < 0.65 else torch.ones_like(near_YX)
        leak = self._u(0.0, 0.6)  # cytoplasm above and below a nucleus in the section
        brown = self._u(0.15, 1.1) * self._texture(near_YX, surroundings_YX) * (1 - (1 - leak) * near_YX)
        membranes = torch.exp(-((self._field(near_YX, 3, 8) / self._u(0.08, 0.25)) ** 2))
        return region * (brown + self._u(0.0, 0.7) * membranes * (1 - 0.7 * near_YX))

    def _texture(self, near_YX: Tensor, surroundings_YX: Tensor) -> Tensor:
        """About 1: fine and coarse grain, and what the picture has around its nuclei."""
        fine, coarse = self._field(near_YX, 0.8, 2.5), self._field(near_YX, 5, 12)
        grain = 1 + self._u(0.0, 0.35) * fine + self._u(0.0, 0.4) * coarse
        return (grain + self._u(0.0, 1.0) * surroundings_YX).clamp_(0.05, 2.5)

    def _stroma(self, near_YX: Tensor) -> Tensor:
        """Faint fibres that take a little haematoxylin."""
        fibres = (0.5 + 0.5 * self._fibres(near_YX)).clamp_(0, 2)
        return self._u(0.0, 0.15) * fibres * (1 - near_YX)

    def _kind(self) -> str:
        place = float(self._u(0, 1))
        return next((kind for kind, below in _KINDS if place < below), _KINDS[-1][0])

    def _vector(self, mean: tuple[float, float, float]) -> Tensor:
        vector = torch.stack([value * self._u(0.82, 1.18) for value in mean])
        unit: Tensor = vector / torch.linalg.vector_norm(vector)
        return unit[:, None, None]

    def _soft(self, nucleus_YX: Tensor) -> Tensor:
        return _filtered(nucleus_YX.float(), *[float(self._u(0.5, 1.3))] * 2)

    def _field(self, like_YX: Tensor, low: float, high: float) -> Tensor:
        """Smooth normal noise whose grain is ``low`` to ``high`` pixels."""
        sigma = float(self._u(low, high))
        return self._smooth(like_YX, sigma, sigma)

    def _fibres(self, like_YX: Tensor) -> Tensor:
        """Smooth noise drawn out along one axis or the other."""
        thin, long = float(self._u(1, 3)), float(self._u(8, 25))
        return self._smooth(like_YX, *((thin, long) if self._u(0, 1) < 0.5 else (long, thin)))

    def _smooth(self, like_YX: Tensor, y: float, x: float) -> Tensor:
        noise = torch.randn(like_YX.shape, generator=self.generator, device=like_YX.device)
        found = _filtered(noise, y, x)
        return (found - found.mean()) / found.std().clamp(min=1e-6)

    def _u(self, low: float, high: float) -> Tensor:
        drawn = torch.rand((), generator=self.generator, device=self.generator.device)
        return low + (high - low) * drawn


def _nuclear_stain(rgb_CYX: Tensor, nucleus_YX: Tensor) -> Tensor:
    """0 for what surrounds nuclei and 1 for nuclei, by their medians; of dark nuclei and of bright ones."""
    mean = rgb_CYX.mean(dim=0)
    inside, outside = mean[nucleus_YX], mean[~nucleus_YX]
    bright = bool(inside.numel() and outside.numel() and inside.mean() > outside.mean())
    bright = bright or (not inside.numel() and bool(mean.median() < 100))
    signal = mean if bright else -((mean + 1) / 256).log10()
    low = signal[~nucleus_YX].median() if outside.numel() else signal.min()
    high = signal[nucleus_YX].median() if inside.numel() else signal.max()
    least = _CONTRAST[bright] * (1 if inside.numel() else 4)  # no nuclei: grain is not to become some
    return ((signal - low) / (high - low).clamp(min=least)).clamp_(-0.2, 2.0)


def _filtered(field_YX: Tensor, sigma_y: float, sigma_x: float) -> Tensor:
    """Gaussian blur, periodic."""
    height, width = field_YX.shape
    y = torch.fft.fftfreq(height, device=field_YX.device)[:, None] * sigma_y
    x = torch.fft.rfftfreq(width, device=field_YX.device)[None] * sigma_x
    window = torch.exp(-2 * math.pi**2 * (y**2 + x**2))
    blurred: Tensor = torch.fft.irfft2(torch.fft.rfft2(field_YX) * window, s=(height, width))
    return blurred
