"""Prepares images and weights before anything is timed."""
