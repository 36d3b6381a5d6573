"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# Timing is for benches.
settings.register_profile("spanwire", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("spanwire")
