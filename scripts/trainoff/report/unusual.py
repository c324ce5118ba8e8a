"""Caveats of results: what is unusual about them, in a sentence each, and what to do about it."""

import pandas as pd

from trainoff import numbers
from trainoff.analyze.noise import WAITING_GPU_PERCENT
from trainoff.analyze.parity import Standing
from trainoff.report.palette import Device
from trainoff.report.reasons import without_device


def warnings(
    runs: pd.DataFrame, rates: pd.DataFrame, overall: pd.DataFrame, devices: list[Device], standing: Standing
) -> list[dict[str, str]]:
    """What is unusual about these results, each with what to do about it or "": [{"text", "cure"}].

    What holds of every default experiment is no warning: it is said once where it matters. runs, rates, overall: the tables.
    standing: parity.Standing.
    """
    labels = {one.name: one.label for one in devices}
    found = [
        _own_scripts(runs, labels),
        _implausible(runs, labels),
        _failures(runs),
        _single(rates, overall),
        _unstable(rates),
        _busy(runs),
        _waiting(runs, labels),
        *_parity(standing, labels, len(devices)),
        *_learning_rates(runs, labels),
        _not_learning(runs, labels),
        _uneven(runs),
    ]
    return [one for one in found if one]


def _own_scripts(runs, labels):
    """Nobody but their users can say whether such runs did the same work."""
    own = runs[runs["own_script"].notna()]
    if own.empty:
        return None
    names = list(dict.fromkeys(own["device"]))
    works = numbers.listing(f'"{work}"' for work in dict.fromkeys(own["own_script"]))
    return {
        "text": f"{numbers.listing(labels.get(name, name) for name in names)} {'was' if len(names) == 1 else 'were'} timed in "
        f"users' own scripts ({works}), which may not do the same work; only runs with the same description are compared.",
        "cure": "",
    }


def _implausible(runs, labels):
    doubted = runs[runs["implausible"].notna()]
    if doubted.empty:
        return None
    names = numbers.listing(labels.get(name, name) for name in dict.fromkeys(doubted["device"]))
    return {
        "text": f"{len(doubted)} of {numbers.count(len(runs), 'run')}, on {names}, cannot be as recorded and are marked "
        f"implausible: {without_device(doubted['implausible'].iloc[0])}.",
        "cure": "Import results only from people you trust.",
    }


def _failures(runs):
    failed = runs[runs["status"] != "ok"]
    if failed.empty:
        return None
    return {
        "text": f"{len(failed)} of {numbers.count(len(runs), 'run')} failed; they are listed with their reasons below.",
        "cure": "`make retry` trains them again.",
    }


def _single(rates, overall):
    """Single runs are unusual only where they leave the answer open: not where every ratio is of turns."""
    compared = overall[(overall["subset"] == "all") & (overall["configurations_compared"] > 0)]
    if len(compared) and (compared["from_turns"] == compared["configurations_compared"]).all():
        return None
    measured = rates.dropna(subset="images_per_second")
    single = int(measured["one_replicate"].astype(bool).sum())
    if not single:
        return None
    which = "Each result is" if single == len(measured) else f"{single} of {len(measured)} results are"
    plural = "a single run" if which.startswith("Each") else "single runs"
    return {
        "text": f"{which} {plural}, so run-to-run variation is assumed, not measured.",
        "cure": "Set `replicates: 3`.",
    }


def _unstable(rates):
    measured = rates.dropna(subset="images_per_second")
    unstable = int(measured["unstable"].fillna(False).astype(bool).sum())
    if not unstable:
        return None
    return {
        "text": f"{unstable} of {numbers.count(len(measured), 'result')} are unstable: the speed varied by more than 10% "
        "within a run.",
        "cure": "Set `protocol.epochs: 8`.",
    }


def _busy(runs):
    busy = int((runs["busy"].fillna(False).astype(bool) & (runs["status"] == "ok")).sum())
    if not busy:
        return None
    return {
        "text": f"{busy} of {numbers.count(len(runs), 'run')} ran while other programs used more than 10% of the machine; their "
        "speed may be too low.",
        "cure": "Set `protocol.wait_for_quiet_minutes: 30`.",
    }


def _waiting(runs, labels):
    """A GPU that waits says little of how fast it is."""
    read = runs[runs["gpu_percent"].notna() & (runs["status"] == "ok")]
    waiting = read[read["gpu_percent"] < WAITING_GPU_PERCENT]
    if waiting.empty:
        return None
    parts = []
    for name, own in waiting.groupby("device", sort=False):
        total = int((read["device"] == name).sum())
        which = "" if len(own) == total else f" in {len(own)} of {numbers.count(total, 'run')}"
        parts.append(f"{own['gpu_percent'].median():.0f}% of the time on {labels.get(name, name)}{which}")
    return {
        "text": f"The GPU computed {numbers.listing(parts)}, and waited for the processor otherwise: there the processor and the "
        "framework set the speed, and a faster GPU would change little.",
        "cure": "Larger batches keep it busier: add some to `grid.batch_size`.",
    }


def _parity(standing, labels, number):
    if standing.table is None:
        return []
    mismatched = [labels.get(name, name) for name in standing.mismatched()]
    open_ones = [labels.get(name, name) for name in standing.inconclusive()]
    found = []
    if mismatched:
        found.append(
            {
                "text": f"{numbers.listing(mismatched)} {_does(mismatched)} not train the same as the reference: the speed may "
                "be that of other work, and the accuracy is not compared.",
                "cure": "Try another version of the framework or driver.",
            }
        )
    if open_ones:
        found.append(
            {
                "text": f"Whether {numbers.listing(open_ones)} {_trains(open_ones)} the same as the reference is inconclusive.",
                "cure": "Set `replicates: 3`.",
            }
        )
    return found


def _does(names):
    return "does" if len(names) == 1 else "do"


def _trains(names):
    return "trains" if len(names) == 1 else "train"


def _learning_rates(runs, labels):
    again = runs[(runs["attempts"] > 1) & runs["converged"].eq(True)]
    found = []
    for name, own in again.groupby("device", sort=False):
        pairs = own[["learning_rate_used", "learning_rate"]].drop_duplicates().sort_values("learning_rate")
        rates = [f"{used:g} instead of {asked:g}" for used, asked in pairs.itertuples(index=False)]
        total = numbers.count(int((runs["device"] == name).sum()), "run")
        found.append(
            {
                "text": f"{labels.get(name, name)} converged only at a lower learning rate in {len(own)} of {total}: "
                f"{numbers.listing(rates)}.",
                "cure": "",
            }
        )
    return found


def _not_learning(runs, labels):
    """Runs that ended well and did not learn, of those that train all weights: a last layer on random features rarely learns."""
    ended = runs[(runs["status"] == "ok") & runs["converged"].notna() & runs["trainable"].astype(bool)]
    lost = ended[~ended["converged"].astype(bool)]
    if lost.empty:
        return None
    by_device = lost.groupby("device", sort=False).size()
    where = numbers.listing([f"{count} on {labels.get(name, name)}" for name, count in by_device.items()])
    return {
        "text": f"{len(lost)} of {numbers.count(len(ended), 'run')} that train all weights did not learn ({where}): the loss "
        "hardly fell or the accuracy stayed near chance. Their speed counts nevertheless.",
        "cure": "Set `training.on_divergence: {reduce_learning_rate: 0.5, attempts: 2}`.",
    }


def _uneven(runs):
    """Accuracies of uneven classes, which look good for a model that always predicts the largest one."""
    own = runs.dropna(subset="final_val_balanced_accuracy")
    if own.empty:
        return None
    balanced = own["final_val_balanced_accuracy"]
    chance = own["chance_accuracy"].max()
    return {
        "text": f"Classes are uneven: always predicting the largest one is right for {numbers.percent(chance)} of the validation "
        f"images. Balanced accuracy, the mean over classes, is {numbers.span(balanced.min(), balanced.max(), numbers.percent)}.",
        "cure": "",
    }
