"""The experiment: its files are read and checked, and its runs are planned."""
