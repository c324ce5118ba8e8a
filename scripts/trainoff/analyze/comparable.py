"""Which devices did other work in a configuration, so that nothing may compare their results there."""

from collections.abc import Iterable, Sequence

import pandas as pd

from trainoff.analyze.reasons import decoded
from trainoff.configurations import configuration_of
from trainoff.shapes import Values

# {(configuration, the names of two devices): the reasons}.
Apart = dict[tuple[Values, frozenset[str]], str]


def apart(comparison: pd.DataFrame) -> Apart:
    """The pairs of devices that did other work, such as on another dataset. comparison: the table."""
    rows = comparison[comparison["verdict"] == "not_comparable"].to_dict("records")
    return {
        (configuration_of(row), frozenset((row["device"], row["baseline"]))): row["reason"]
        for row in rows
        if any(reason["code"] == "other_work" for reason in decoded(row["reason"]))
    }


def largest_group(names: Iterable[str], apart: Apart, configuration: Values) -> list[str]:
    """The largest group of devices that did the same work in a configuration; of equally large ones the first."""
    groups: list[list[str]] = []
    for name in names:
        for group in groups:
            if not any((configuration, frozenset((name, other))) in apart for other in group):
                group.append(name)
                break
        else:
            groups.append([name])
    return max(groups, key=len, default=[])


def of_other_work(names: Sequence[str], apart: Apart) -> list[str]:
    """The devices that did other work than most in some configuration."""
    groups = [largest_group(names, apart, configuration) for configuration in {place for place, _ in apart}]
    return [name for name in names if any(name not in group for group in groups)]
