"""Tables and statistics: numbers and codes, no sentences."""
