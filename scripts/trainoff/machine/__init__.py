"""The machine at hand: what it has to train on, what of that a process may use, and what `devices: auto` chooses from it."""
