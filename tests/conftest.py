"""How many inputs the property tests try: a few hundred each by default, thousands with --hypothesis-profile=volume."""

from hypothesis import HealthCheck, settings

settings.register_profile("default", max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("volume", settings.get_profile("default"), max_examples=5000)
settings.load_profile("default")
