"""This machine: its devices, the part of them that a process may use, and the choice that `devices: auto` makes."""
