"""The sections of settings that are of several kinds, and which kind is meant where none is named."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field

from agentprm_dagster.engine.kinds import KINDS as ENGINES
from agentprm_dagster.engine.kinds import engine_kind
from agentprm_dagster.engine.settings import EngineSettings
from agentprm_dagster.envs.kinds import KINDS, settings_class
from agentprm_dagster.envs.settings import EnvironmentSettings
from agentprm_dagster.improvement.kinds import KINDS as IMPROVEMENTS
from agentprm_dagster.improvement.kinds import improvement_kind
from agentprm_dagster.improvement.settings import ImprovementSettings
from agentprm_dagster.targets.kinds import KINDS as TARGETS
from agentprm_dagster.targets.kinds import target_kind
from agentprm_dagster.targets.settings import TargetSettings

USUAL = {"engine": "embedded", "environment": "alfworld", "improvement": "dpo", "targets": "mc"}
"""The sections of several kinds, and which is meant where none is named."""


def settings_of(section: str) -> dict[str, Any]:
    """The class of settings of every kind of a section that is of several kinds, by the kind's name."""
    if section == "engine":
        return {name: engine_kind(name).Settings for name in ENGINES}
    if section == "environment":
        return {name: settings_class(name) for name in KINDS}
    if section == "improvement":
        return {name: improvement_kind(name).Settings for name in IMPROVEMENTS}
    return {name: target_kind(name).Settings for name in TARGETS}


if TYPE_CHECKING:
    AnyEngine = EngineSettings
    AnyEnvironment = EnvironmentSettings
    AnyImprovement = ImprovementSettings
    AnyTargets = TargetSettings
else:
    AnyEngine, AnyEnvironment, AnyImprovement, AnyTargets = (
        Annotated[Union[tuple(settings_of(each).values())], Field(discriminator="kind")]  # noqa: UP007
        for each in USUAL
    )
"""The settings of every kind of engine, environment, improvement and target; `kind` says whose they are."""


def with_usual_kinds(values: Any) -> Any:
    """Settings as they were read, their sections of several kinds of the usual one unless they say otherwise."""
    if not isinstance(values, dict):
        return values
    usual = {name: kind for name, kind in USUAL.items() if isinstance(values.get(name), dict)}
    return {**values, **{name: {"kind": kind, **values[name]} for name, kind in usual.items()}}


def known_to_kinds(values: Mapping[str, Any], below: Mapping[str, Any]) -> dict[str, Any]:
    """Settings `below` others, as read: of a section that names no kind what the kind knows that `values` name."""
    return {name: _known_to(name, values.get(name), section) for name, section in below.items()}


def _known_to(name: str, above: Any, section: Any) -> Any:
    if not (name in USUAL and isinstance(above, dict) and isinstance(section, dict)):
        return section
    kind = above.get("kind")
    kinds = settings_of(name) if isinstance(kind, str) and kind != USUAL[name] and "kind" not in section else {}
    if kind not in kinds:
        return section
    return {key: value for key, value in section.items() if key in kinds[kind].model_fields}
