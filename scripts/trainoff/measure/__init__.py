"""What runs inside the process of a training."""
