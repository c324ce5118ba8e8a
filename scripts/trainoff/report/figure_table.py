"""THE table of figures: one entry drives a figure's rule, its place on the page, its heading and its caption.

A figure is an entry here and scripts/plot_<name>.py, whose `draw` takes the entry's tables and options by name.
"""

from dataclasses import dataclass

# More would make the page long.
MAX_UNFOLDED = 5
# Tables that the answer of a page is made of, besides parity, which may be missing: those of the picture to share.
ANSWER_TABLES = ("runs", "windows", "energy_windows", "rates", "comparison", "overall", "costs")


@dataclass(frozen=True)
class Figure:
    """heading: what it is about. caption: one sentence under it, the same for all results. category: for Snakemake's report.

    tables: names of results/tables, in what `draw` calls them. options: further arguments of `draw`: devices, and what
    rules/plot.smk knows by name. main: the page unfolds the first MAX_UNFOLDED of these that tell anything. needs: what
    there must be for it to tell anything, a key in trainoff.report.page.tells; "" always.
    """

    heading: str
    caption: str
    category: str
    tables: tuple[str, ...]
    options: tuple[str, ...] = ()
    main: bool = False
    needs: str = ""


FIGURES = {
    "ratio": Figure(
        "Speed ratios",
        "Each dot is a configuration: how many times as fast the device is as the baseline. Right of the line it is faster.",
        "Speed",
        ("rates", "comparison", "overall"),
        ("pair",),
        main=True,
        needs="several devices",
    ),
    "to_accuracy": Figure(
        "Time, energy and cost to accuracy",
        "Validation accuracy against the time and money spent so far, cold start included, and the energy of the epochs; further "
        "left is better.",
        "Learning",
        ("runs", "windows", "energy_windows", "rates", "comparison", "parity"),
        ("assumptions",),
        main=True,
    ),
    "throughput": Figure(
        "Training speed",
        "Each dot is a result: the geometric mean over its runs, with its 95% interval and the timed epochs behind it.",
        "Speed",
        ("runs", "windows", "rates"),
        main=True,
    ),
    "readings": Figure(
        "Hardware readings over a run",
        "Speed, power, clock and temperature, second by second, over the longest run of each device.",
        "Runs",
        ("readings",),
        main=True,
        needs="readings",
    ),
    "run_matrix": Figure(
        "How every run ended",
        "One cell per result; a failed run keeps its place and its reason.",
        "Runs",
        ("runs",),
        needs="failures",
        main=True,
    ),
    "step_time": Figure(
        "Overhead and time per image",
        "Time per step by batch size: a line starts at the overhead of a step, and its slope is the time per image.",
        "Speed",
        ("rates", "overhead", "crossings"),
        needs="several batch sizes",
        main=True,
    ),
    "energy": Figure(
        "Energy of 1,000 images",
        "One panel for each part of a machine that was read; readings of different parts are not comparable.",
        "Energy and cost",
        ("rates",),
        needs="energy",
    ),
    "each_device": Figure(
        "Each device alone",
        "The same speeds, each device on an axis of its own: which configuration it trains fastest.",
        "Speed",
        ("runs", "rates"),
        needs="several devices",
    ),
    "last_layer": Figure(
        "Last layer against all weights",
        "How many times as fast the last layer alone trains as all weights.",
        "Speed",
        ("rates",),
    ),
    "model_size": Figure(
        "Speed ratio against model size",
        "Whether the gap between devices widens with the operations per image.",
        "Speed",
        ("runs", "comparison"),
        ("pair",),
        needs="several models",
    ),
    "efficiency": Figure(
        "Speed against power",
        "Images per second against mean watts; lines of equal images per joule.",
        "Energy and cost",
        ("rates",),
        needs="power",
    ),
    "cost": Figure(
        "Cost of a run",
        "What one run costs, bought and rented, at the prices listed under assumptions.",
        "Energy and cost",
        ("costs",),
        ("assumptions",),
        needs="cost",
    ),
    "break_even": Figure(
        "Buying or renting",
        "Cost of a month by its number of runs; where the lines cross, buying becomes cheaper.",
        "Energy and cost",
        ("break_even",),
        ("assumptions",),
        needs="rent",
    ),
    "learning": Figure(
        "Learning curves",
        "Loss and accuracy by epoch, on training and validation images.",
        "Learning",
        ("runs", "windows", "comparison", "parity"),
    ),
    "sustained": Figure(
        "Speed minute by minute",
        "How the speed of runs that take minutes develops: a device that gets warm may slow down.",
        "Speed",
        ("runs", "windows"),
        needs="sustained",
    ),
    "cold_start": Figure(
        "Cold start",
        "Seconds from the start of the process to the end of the first training step.",
        "Runs",
        ("runs",),
    ),
    "estimates": Figure(
        "Estimated elsewhere",
        "Filled marks are measured, hollow ones with dashed ranges estimated from published figures; no ratio mixes the two.",
        "Context",
        ("estimates", "rates"),
        needs="estimates",
    ),
    "published": Figure(
        "Published by others",
        "Figures published by others, for orientation; no ratio uses them.",
        "Context",
        ("rates", "published"),
        needs="images",
    ),
}
