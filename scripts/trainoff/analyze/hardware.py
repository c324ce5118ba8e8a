"""Data sheets of devices (catalog/hardware.yaml): which devices are known, their limits, and which one a driver's name means.

Without pandas, since rules check the experiment with it at every start.
"""

from typing import Any

from trainoff import numbers
from trainoff.errors import UserError, one_line


def check(wanted: list[str], hardware: dict[str, dict[str, Any]]) -> None:
    """Raises UserError unless every name under `predict:` is a key of catalog/hardware.yaml."""
    for name in wanted:
        if name not in hardware:
            words = one_line(str(name)).lower().replace(" ", "")
            close = [key for key in hardware if key.startswith(words[:2])] or list(hardware)
            raise UserError(
                f"predict: catalog/hardware.yaml has no {one_line(name)!r}. Expected names such as {', '.join(close[:8])}; add "
                "its data sheet there if it is missing."
            )


def speed_limits(sheet: dict[str, Any], device_class: str, precision: str) -> tuple[str, float, float] | None:
    """(mode, peak TFLOPS, GB/s) of a device in a precision; the mode names the units that compute. None if it has none for it.

    float32 counts as TF32 on GPUs whose tensor cores support it, which TensorFlow and PyTorch use by default.
    """
    tflops, bandwidth = sheet["tflops"], sheet["memory_gb_per_second"]
    if device_class != "cuda":
        if precision == "mixed_bfloat16" and device_class == "metal":
            return None
        return device_class, tflops["float32"], bandwidth
    if precision == "float32":
        return ("tf32", tflops["tf32"], bandwidth) if "tf32" in tflops else ("float32", tflops["float32"], bandwidth)
    if "float16" not in tflops or (precision == "mixed_bfloat16" and "tf32" not in tflops):
        return None
    tensor = tflops["float16"] > 2.5 * tflops["float32"] or "tf32" in tflops
    return "tensor" if tensor else "half", tflops["float16"], bandwidth


def recognized(
    name: str | float | None, accelerator: str, cores: float | None, hardware: dict[str, dict[str, Any]]
) -> str | None:
    """The key in catalog/hardware.yaml of a device, by the name that its driver reports; None if it is not described.

    Some drivers put "NVIDIA" before the name. Chips with the same name are distinguished by their GPU cores.
    """
    if accelerator == "cpu" or not isinstance(name, str):
        return None
    words = name.lower().removeprefix("nvidia ").strip()
    fits = [
        key
        for key, sheet in hardware.items()
        if any(words == known.removeprefix("nvidia ").strip() for known in sheet["names"])
    ]
    exact = [key for key in fits if numbers.known(cores) and hardware[key].get("cores") == cores]
    same = [key for key in fits if "cores" not in hardware[key]]
    return next(iter(exact or same or (fits if not numbers.known(cores) else [])), None)
