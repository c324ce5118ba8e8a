"""Looks through files that hold an experiment, before Snakemake is given one that somebody else wrote.

python scripts/check_experiment.py FILE …

Ends with code 1 and a sentence for the first file that would not be used.
"""

import sys

from trainoff.errors import UserError
from trainoff.experiment import experiment_file


def main(paths: list[str]) -> None:
    """A sentence per file, and whether all of them can be given to Snakemake."""
    for path in paths:
        keys = experiment_file.read(path)
        print(f"{path}: {len(keys)} keys at its top level, and nothing that Snakemake should not read.")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
