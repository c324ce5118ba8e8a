"""Installed Python packages."""

import importlib.metadata


def installed_version(name: str) -> str | None:
    """The version of an installed package, such as "2.19.1"; None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
