"""The world of single runs serves several ranks too."""

from tests.train.run.conftest import one_thread, world

__all__ = ["one_thread", "world"]
