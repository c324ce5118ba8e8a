"""What property tests try: some hundred inputs, always the same; with --hypothesis-profile=volume thousands of new ones."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "default", max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("volume", settings.get_profile("default"), max_examples=5000, derandomize=False)
settings.load_profile("default")
