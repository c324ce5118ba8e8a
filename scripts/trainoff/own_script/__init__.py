"""Trainings that run in a script of the user's own: timed by a Keras callback, and packed as a bundle."""
