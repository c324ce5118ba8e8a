"""Checks the bundles of other machines and unpacks their records."""

from trainoff.exchange import merging
from trainoff.workflow.script import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        merging.unpack(
            [path for path, _ in snakemake.params.bundles],
            # Triples, since a dict in params can only have plain keys.
            {(origin, device): name for origin, device, name in snakemake.params.names},
            snakemake.output.folder,
        )
