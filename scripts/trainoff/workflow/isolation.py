"""What jobs must not see of the person who starts them."""

import os
import site


def shut_out_user_packages(snakemake_file):
    """Hides what was installed with `pip install --user` from all processes that this one starts, pip's and conda's included.

    snakemake_file: where Snakemake itself was imported from; if it was installed so, nothing is hidden, or it could start
    no job.
    """
    if not os.path.realpath(snakemake_file).startswith(os.path.realpath(site.getusersitepackages()) + os.sep):
        os.environ["PYTHONNOUSERSITE"] = "1"
