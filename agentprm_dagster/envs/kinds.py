"""Which kinds of environment there are. A kind is a folder here, and a line in KINDS."""

from functools import cache
from importlib import import_module
from typing import Any

from agentprm_dagster.envs.base import EnvironmentKind

KINDS = {
    "alfworld": "agentprm_dagster.envs.alfworld",
    "openenv": "agentprm_dagster.envs.openenv",
    "textworld": "agentprm_dagster.envs.textworld",
}
"""The package of each kind, which holds `settings.py`, `language.py` and `kind.py`."""


@cache
def kind_of(name: str) -> EnvironmentKind:
    """The kind of environment of this name; KeyError where there is none."""
    kind: EnvironmentKind = import_module(f"{KINDS[name]}.kind").KIND
    return kind


def settings_class(name: str) -> Any:
    """The class of a kind's settings, with `kind: Literal[name]` as tag."""
    return import_module(f"{KINDS[name]}.settings").Settings
