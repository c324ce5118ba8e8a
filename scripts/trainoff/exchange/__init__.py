"""Exchange of records: bundles, runs of other machines, trackers."""
