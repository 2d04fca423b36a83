"""Where the files are that come with biasvar."""

from pathlib import Path


def data_folder(name: str) -> Path:
    """Return the folder of the studies or the data sets that come with biasvar, installed or in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "data" / name
    return installed if installed.is_dir() else package.parent / "data" / name
