"""Which libraries made an artifact, without importing them."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from platform import python_version

LIBRARIES = ("alfworld", "dagster", "mlflow", "numpy", "pyarrow", "textworld", "torch", "transformers", "trl")


def library_versions() -> dict[str, str]:
    """The versions of Python and of the libraries that results depend on; `absent` for what is not installed."""
    return {"python": python_version(), **{name: _version(name) for name in LIBRARIES}}


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
