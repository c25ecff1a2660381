"""What every stage of an experiment's first iteration would take on a device.

Later iterations take the same, without demonstrations, `initial_policy` and the evaluation of pi_0.
"""

from agentprm_dagster.planning.playing import demonstrations, eval_report, rollouts
from agentprm_dagster.planning.setup import Setup, Stage
from agentprm_dagster.planning.trainings import improved_policy, initial_policy, inverse_prm, prm


def mc_value_targets(setup: Setup) -> Stage:
    """The decisions of rollouts, of a branch only the first, are counted."""
    settings = setup.experiment.rollouts
    decisions = setup.explored * settings.per_game * (setup.turns + settings.branch_states * settings.branch_actions)
    return Stage(name="mc_value_targets", seconds=decisions / setup.assumed.targets)


_REWARDS = {"prm": (mc_value_targets, prm), "inverse_prm": (mc_value_targets, inverse_prm), None: ()}
"""What makes each reward model."""


def stages(setup: Setup) -> list[Stage]:
    """Those of the first iteration, in their order."""
    judged = _REWARDS[setup.experiment.improvement.reward]
    parts = (demonstrations, initial_policy, rollouts, *judged, improved_policy, eval_report)
    return [part(setup) for part in parts]
