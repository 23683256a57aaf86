"""Settings of all tests. Shared machines are slow at times, so no property has a deadline."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
