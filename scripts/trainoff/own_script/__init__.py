"""Trainings in the user's own script: timed by a Keras callback, and packed as a bundle."""
