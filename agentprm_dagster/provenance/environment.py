"""What an artifact was made with beside the code: libraries, processor, the type of its products."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from platform import python_version

from agentprm_dagster.processor import processor, product_type

LIBRARIES = ("alfworld", "dagster", "mlflow", "numpy", "pyarrow", "textworld", "torch", "transformers", "trl")


def environment() -> dict[str, str]:
    """Versions of Python and of the libraries that results depend on (`absent` for what is not installed), the
    processor, and the type in which it multiplies a small model's matrices (`products`).
    """
    libraries = {name: _version(name) for name in LIBRARIES}
    return {"python": python_version(), **libraries, "processor": processor(), "products": product_type()}


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
