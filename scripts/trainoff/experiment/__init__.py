"""The experiment as its files say it: read, checked, and turned into the runs that follow from it."""
