"""What holds for all tests."""

from hypothesis import settings

settings.register_profile("spanwire", deadline=None)  # timing is for benches
settings.load_profile("spanwire")
