"""How large a sample is: what it answers for, what the network sees, and what is read for it. No torch."""

from dataclasses import dataclass

from unet_batch.errors import InputError
from unet_batch.models.spec import ModelSpec
from unet_batch.tiling import round_up
from unet_batch.training.augment.config import AugmentConfig


@dataclass(frozen=True, slots=True)
class Patch:
    """Extents per spatial axis; all have one centre.

    Attributes:
        output: pixels whose labels count.
        input: pixels that the network sees; ``output`` and its margin (valid) or the same (padded).
        read: ``input`` and the context that a warp may look into at most.
    """

    output: tuple[int, ...]
    input: tuple[int, ...]
    read: tuple[int, ...]

    @classmethod
    def of(cls, spec: ModelSpec, size: tuple[int, ...], augment: AugmentConfig) -> "Patch":
        """The smallest legal patch for ``spec`` that answers for ``size`` pixels (one per axis, or one).

        Raises:
            InputError: a size for another number of axes, or a network that takes no training.
        """
        given = tuple(input_size(spec, n) for n in _extents(spec, size))
        margin = spec.receptive_field().margin if spec.padding == "valid" else 0
        context = augment.context(given)
        return cls(
            output=tuple(n - 2 * margin for n in given),
            input=given,
            read=tuple(n + 2 * c for n, c in zip(given, context, strict=True)),
        )


def input_size(spec: ModelSpec, output: int) -> int:
    """Pixels on one axis that the network must see to answer for at least ``output``, while it learns.

    Padded networks answer for all that they see here: what the padding spoils at the rim is theirs to learn.
    """
    if spec.architecture == "exported":
        raise InputError("an exported network cannot be trained; describe one to build, for example unet")
    if spec.padding == "valid":
        return spec.input_size(output)
    return round_up(output, spec.receptive_field().multiple)


def _extents(spec: ModelSpec, size: tuple[int, ...]) -> tuple[int, ...]:
    if len(size) not in (1, spec.dims):
        raise InputError(
            f"patch {list(size)} has {len(size)} numbers, the network {spec.dims} axes; "
            f"give one number or {spec.dims}"
        )
    return size * spec.dims if len(size) == 1 else size
