"""Checks the bundles of other machines and lays their records beside this machine's."""

from trainoff.exchange import merging
from trainoff.workflow.script import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        merging.unpack(
            [path for path, _ in snakemake.params.bundles],
            # Pairs, since a params dict keeps plain keys only.
            {(origin, device): name for origin, device, name in snakemake.params.names},
            snakemake.output.folder,
        )
