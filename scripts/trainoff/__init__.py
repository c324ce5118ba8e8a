"""What the scripts share, one subject per module."""
