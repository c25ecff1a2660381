"""Which kinds of policy improvement there are. A kind is a file here, and a line in KINDS."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agentprm_dagster.episodes.stage import StageReport

if TYPE_CHECKING:
    from agentprm_dagster.improvement.inputs import Inputs
    from agentprm_dagster.launch.job import Job

KINDS = {
    "dpo": "agentprm_dagster.improvement.dpo",
    "trl": "agentprm_dagster.improvement.trl",
    "rft": "agentprm_dagster.improvement.rft",
    "outcome_dpo": "agentprm_dagster.improvement.outcome_dpo",
    "implicit_dpo": "agentprm_dagster.improvement.implicit_dpo",
    "dagger": "agentprm_dagster.improvement.dagger",
    "grpo": "agentprm_dagster.improvement.grpo",
}
"""The module of each kind."""


class ImprovementKind(Protocol):
    """What such a module holds."""

    Settings: Any
    """The class of its settings (`improvement.settings.ImprovementSettings`), with `kind: Literal[name]` as tag."""

    def improve(self, inputs: "Inputs", settings: Any, out: Path, job: "Job") -> StageReport:
        """Writes the improved policy's checkpoint to `out`.

        Args:
            settings: `improvement`, an instance of Settings, and what its `sections` name, as an experiment has them.
            job: its seed, and how it is computed; one that was killed is gone on from, if this kind saves anything.

        Returns:
            A report with the gates `policy_finite`, `kl_budget` and `pairs_to_learn_from`, as
            `reports.improvement_report.improvement_report` makes it from the numbers of every step.
        """


def improvement_kind(name: str) -> ImprovementKind:
    """The kind of this name; KeyError where there is none."""
    kind: ImprovementKind = import_module(KINDS[name])
    return kind
