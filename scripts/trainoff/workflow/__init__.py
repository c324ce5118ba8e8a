"""What the Snakefile and the scripts share: what is finished, digests of code, Snakemake's own metadata."""
