"""The world of single runs serves several ranks too."""

from tests.training.run.conftest import one_thread, world

__all__ = ["one_thread", "world"]
