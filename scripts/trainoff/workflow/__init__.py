"""Shared by the Snakefile and the scripts: which runs are finished, digests of code, Snakemake's own metadata."""
