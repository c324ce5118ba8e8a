"""What the scripts share, one subject per module; and the Timer for trainings of others (docs/own-script.md)."""


def __getattr__(name):
    # Keras takes seconds to import, and only the Timer needs it.
    if name == "Timer":
        import importlib

        return importlib.import_module("trainoff.own_script.timer").Timer
    raise AttributeError(f"module 'trainoff' has no attribute {name!r}")
