"""Records that travel: bundles, runs of other machines, trackers."""
