"""Checks experiment files from somebody else before Snakemake reads them.

python scripts/check_experiment.py FILE …

Exits with code 1 and a message about the first file that trainoff would reject.
"""

import sys

from trainoff.errors import UserError
from trainoff.experiment import experiment_file


def main(paths: list[str]) -> None:
    """Prints a line per file. Raises UserError for the first file that Snakemake should not read."""
    for path in paths:
        keys = experiment_file.read(path)
        print(f"{path}: safe for Snakemake to read; {len(keys)} keys at its top level.")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
