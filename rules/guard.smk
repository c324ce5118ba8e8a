"""Checks the experiment's files before Snakemake reads them: this is the first code of the project that Snakemake runs."""

import os
import sys

from snakemake.exceptions import WorkflowError

sys.path.insert(0, os.path.join(PROJECT, "scripts"))

from trainoff.experiment import experiment_file
from trainoff.errors import UserError

try:
    for path in [
        os.path.join(PROJECT, "config.yaml"),
        *workflow.overwrite_configfiles,
    ]:
        experiment_file.read(path)
except UserError as error:
    raise WorkflowError(str(error)) from None
