"""Sentences, figures and the page."""
