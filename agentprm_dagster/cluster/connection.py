"""The Ray cluster that RAY_ADDRESS names, on whose nodes this package runs as it is here."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

ADDRESS = "RAY_ADDRESS"

_PACKAGE = Path(__file__).parents[1]
_COMPARED = ("torch", "transformers", "tokenizers", "safetensors", "numpy")
"""Libraries whose other version may compute other numbers."""


class ClusterError(RuntimeError):
    """There is no cluster, or a node of it is not as this machine."""


def connected() -> Any:
    """The module `ray`, connected; this process stays so until it ends.

    Raises:
        ClusterError: Ray is not installed, no cluster is named, or it does not answer.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ClusterError(f"{error}: install Ray, `pip install 'agentprm_dagster[ray]'`") from error
    if ray.is_initialized():
        return ray
    address = os.environ.get(ADDRESS, "").strip()
    if not address:
        raise ClusterError(
            f"{ADDRESS} names no cluster: start one with `ray start --head` and set it to HOST:PORT, or to `auto` on "
            "one of its nodes"
        )
    if "://" in address:
        raise ClusterError(
            f"{ADDRESS}: expected HOST:PORT of the cluster's head, or auto, on one of its nodes; Ray's client "
            f"({address.partition('://')[0]}://) tells nothing of tasks while they run"
        )
    try:
        # The package is sent, so that nodes need its requirements and cannot have another version of it.
        ray.init(address, log_to_driver=False, runtime_env={"py_modules": [str(_PACKAGE)]})
    except Exception as error:  # of a dozen kinds, none of them Ray's own
        raise ClusterError(f"no Ray cluster answers at {ADDRESS}={address}: {type(error).__name__}: {error}") from error
    return ray


def versions() -> dict[str, str]:
    """Of Python and of the libraries that compute, on this machine."""
    return {"python": platform.python_version(), **{name: version(name) for name in _COMPARED}}


def require_versions(expected: dict[str, str]) -> None:
    """Refuses to compute on a node whose numbers may be others.

    Raises:
        ClusterError: a library is not of the version that the stage's own machine has.
    """
    here = versions()
    if other := [f"{name} {here[name]} instead of {want}" for name, want in expected.items() if here[name] != want]:
        raise ClusterError(
            f"the node {platform.node()} has {', '.join(other)}: install requirements.lock on every node of the cluster"
        )
