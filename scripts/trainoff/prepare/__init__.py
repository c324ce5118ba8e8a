"""Images and weights, made ready before anything is timed."""
