"""What makes an instance: settings that ``objects``, ``validation.instances`` and a network's spec share."""

from typing import Literal, Self

from pydantic import Field

from unet_batch.config import Config


class InstanceRules(Config):
    """How connected pixels of a class become instances.

    Attributes:
        reach: how many pixels an object grows into the border class.
        connectivity: pixels are neighbours that differ by one step on at most so many axes (1: by faces).
        smallest: objects of fewer pixels, once grown, are left out.
    """

    reach: int = Field(default=16, ge=1, le=1024)
    connectivity: Literal[1, 2, 3] = 1
    smallest: int = Field(default=1, ge=1)

    def completed_by(self, rules: "InstanceRules | None") -> Self:
        """These settings; what nobody said here is as in ``rules``."""
        if rules is None:
            return self
        names = set(InstanceRules.model_fields) - self.model_fields_set
        return self.model_copy(update={name: getattr(rules, name) for name in names})
