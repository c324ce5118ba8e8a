"""Caveats of results: what is unusual about them, in a sentence each, and what to do about it."""

from typing import Any

import pandas as pd

from trainoff import numbers
from trainoff.analyze.noise import WAITING_GPU_PERCENT
from trainoff.analyze.parity import Standing
from trainoff.analyze.reasons import decoded
from trainoff.errors import one_line
from trainoff.report import cures, words
from trainoff.report.palette import Device
from trainoff.report.reasons import sentence, without_device

# Letters of a reason that a caveat repeats; the table of parity has all of it.
MAX_REASON = 300


def warnings(
    runs: pd.DataFrame,
    rates: pd.DataFrame,
    overall: pd.DataFrame,
    devices: list[Device],
    standing: Standing,
    settings: dict[str, Any] | None = None,
    comparison: pd.DataFrame | None = None,
) -> list[dict[str, str]]:
    """What is unusual about these results, each with what to do about it or "": [{"text", "cure"}].

    What is true of every default experiment is no warning: it is said once where it matters. runs, rates, overall, comparison:
    the tables. standing: parity.Standing. settings: keys of the experiment, as far as they are known.
    """
    labels = {device.name: device.label for device in devices}
    settings = settings or {}
    caveats = [
        _own_scripts(runs, labels),
        _implausible(runs, labels),
        _failures(runs),
        _failed_turns(comparison, labels),
        _single(rates, overall, cures.replicates(runs)),
        _unstable(rates, cures.epochs(runs, settings)),
        _busy(runs, cures.quiet(settings)),
        *({"text": text, "cure": ""} for text in words.disturbed(runs, labels)),
        _waiting(runs, labels),
        *_parity(standing, labels),
        *_learning_rates(runs, labels),
        _not_learning(runs, labels, cures.divergence(settings)),
        _uneven(runs),
    ]
    return [caveat for caveat in caveats if caveat]


def _own_scripts(runs, labels):
    """Nobody but their users can say whether such runs did the same work."""
    timed = runs[runs["own_script"].notna()]
    if timed.empty:
        return None
    names = list(dict.fromkeys(timed["device"]))
    works = numbers.listing(f'"{work}"' for work in dict.fromkeys(timed["own_script"]))
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
        "text": f"{len(doubted)} of {numbers.count(len(runs), 'run')}, on {names}, cannot be as recorded and "
        f"{'is' if len(doubted) == 1 else 'are'} marked implausible: {without_device(doubted['implausible'].iloc[0])}.",
        "cure": "Import results only from people you trust.",
    }


def _failures(runs):
    failed = runs[runs["status"] != "ok"]
    if failed.empty:
        return None
    here = int((failed["origin"] == "local").sum())
    which = "them" if here == len(failed) else "those of this machine"
    return {
        "text": f"{len(failed)} of {numbers.count(len(runs), 'run')} failed; they are listed with their reasons below.",
        "cure": f"`make retry` trains {which} again." if here else "",
    }


def _failed_turns(comparison, labels):
    reasons = [] if comparison is None else comparison["reason"].dropna()
    failed = [part for column in reasons for part in decoded(column) if part["code"] == "turns_failed"]
    if not failed:
        return None
    which = "The reason" if len(failed) == 1 else "The first reason"
    return {
        "text": f"Turns failed for {numbers.count(len(failed), 'speed ratio')}. If the runs ended well, they are compared "
        f"instead. {which}: {sentence(failed[0], labels).rstrip('.')}.",
        "cure": "`make retry` takes them again.",
    }


def _single(rates, overall, cure=""):
    """Single runs are unusual only where they leave the answer open: not where all ratios were measured in turns."""
    compared = overall[(overall["subset"] == "all") & (overall["configurations_compared"] > 0)]
    if len(compared) and (compared["from_turns"] == compared["configurations_compared"]).all():
        return None
    measured = rates.dropna(subset="images_per_second")
    single = int(measured["one_replicate"].astype(bool).sum())
    if not single:
        return None
    which = "Each result is" if single == len(measured) else f"{single} of {len(measured)} results are"
    plural = "a single run" if which.startswith("Each") else "single runs"
    return {"text": f"{which} {plural}, so run-to-run variation is assumed, not measured.", "cure": cure}


def _unstable(rates, cure):
    measured = rates.dropna(subset="images_per_second")
    unstable = int(measured["unstable"].fillna(False).astype(bool).sum())
    if not unstable:
        return None
    total = numbers.count(len(measured), "result")
    return {"text": f"{unstable} of {total} are unstable: {words.UNSTABLE}.", "cure": cure}


def _busy(runs, cure):
    busy = int((runs["busy"].fillna(False).astype(bool) & (runs["status"] == "ok")).sum())
    if not busy:
        return None
    return {
        "text": f"{busy} of {numbers.count(len(runs), 'run')} ran while other programs used more than 10% of its processors; "
        "their speed may be too low.",
        "cure": cure,
    }


def _waiting(runs, labels):
    """A GPU that waits says little of how fast it is."""
    read = runs[runs["gpu_percent"].notna() & (runs["status"] == "ok")]
    waiting = read[read["gpu_percent"] < WAITING_GPU_PERCENT]
    if waiting.empty:
        return None
    parts = []
    for name, group in waiting.groupby("device", sort=False):
        total = int((read["device"] == name).sum())
        which = "" if len(group) == total else f" in {len(group)} of {numbers.count(total, 'run')}"
        parts.append(f"{group['gpu_percent'].median():.0f}% of the time on {labels.get(name, name)}{which}")
    return {
        "text": f"The GPU was busy only {numbers.listing(parts)}. The processor and the framework limit the speed there, so a "
        "faster GPU would help little.",
        "cure": "Larger batches keep it busier: add some to `grid.batch_size`.",
    }


def _parity(standing, labels):
    mismatched = [labels.get(name, name) for name in standing.mismatched()]
    caveats = []
    if len(mismatched) == 1:
        caveats.append(
            f"{mismatched[0]} does not train the same as the reference: it may be fast because it computes something else, "
            "and its accuracy is not compared."
        )
    elif mismatched:
        caveats.append(
            f"{numbers.listing(mismatched)} do not train the same as the reference: they may be fast because they compute "
            "something else, and their accuracies are not compared."
        )
    caveats = [{"text": text, "cure": "Try another version of the framework or driver."} for text in caveats]
    for name in standing.inconclusive():
        reason = _why_inconclusive(standing, name)
        text = f"Whether {labels.get(name, name)} trains the same as the reference is inconclusive"
        caveats.append({"text": f"{text}: {reason}." if reason else f"{text}.", "cure": ""})
    return caveats


def _why_inconclusive(standing, device):
    """What kept the probes of a device from being compared. Final accuracies, which need replicates, decide nothing here."""
    rows = [row for key, checks in standing.rows.items() if key[0] == device for row in checks]
    probed = [row for row in rows if row["check"] != "final_accuracy" and row["verdict"] == "inconclusive"]
    reasons = dict.fromkeys(filter(None, (without_device(row["reason"]) for row in probed)))
    return one_line("; ".join(reasons), MAX_REASON).rstrip(".")


def _learning_rates(runs, labels):
    again = runs[(runs["attempts"] > 1) & runs["converged"].eq(True)]
    caveats = []
    for name, group in again.groupby("device", sort=False):
        pairs = group[["learning_rate_used", "learning_rate"]].drop_duplicates().sort_values("learning_rate")
        rates = [f"{used:g} instead of {asked:g}" for used, asked in pairs.itertuples(index=False)]
        total = numbers.count(int((runs["device"] == name).sum()), "run")
        caveats.append(
            {
                "text": f"{labels.get(name, name)} converged only at a lower learning rate in {len(group)} of {total}: "
                f"{numbers.listing(rates)}.",
                "cure": "",
            }
        )
    return caveats


def _not_learning(runs, labels, cure):
    """Runs that ended well and did not learn, of those that train all weights: a last layer on random features rarely learns."""
    finished = runs[(runs["status"] == "ok") & runs["converged"].notna() & runs["trainable"].astype(bool)]
    failing = finished[~finished["converged"].astype(bool)]
    if failing.empty:
        return None
    by_device = failing.groupby("device", sort=False).size()
    where = numbers.listing([f"{count} on {labels.get(name, name)}" for name, count in by_device.items()])
    return {
        "text": f"{len(failing)} of {numbers.count(len(finished), 'run')} that train all weights did not learn ({where}): the "
        "loss hardly fell or the accuracy stayed near chance. Their speed counts all the same.",
        "cure": cure,
    }


def _uneven(runs):
    """Accuracies of uneven classes, which look good for a model that always predicts the largest one."""
    uneven = runs.dropna(subset="final_val_balanced_accuracy")
    if uneven.empty:
        return None
    balanced = uneven["final_val_balanced_accuracy"]
    chance = uneven["chance_accuracy"].max()
    return {
        "text": f"Classes are uneven: always predicting the largest one is right for {numbers.percent(chance)} of the validation "
        f"images. Balanced accuracy, the mean over classes, is {numbers.span(balanced.min(), balanced.max(), numbers.percent)}.",
        "cure": "",
    }
