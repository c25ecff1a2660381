"""Improves a policy: the paper's Eq. 3."""

from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.improvement.inputs import Inputs
from agentprm_dagster.improvement.kinds import improvement_kind
from agentprm_dagster.launch.job import Job
from agentprm_dagster.launch.request import Request


def train(request: Request, job: Job) -> StageReport:
    """The behaviour policy improved by the kind of improvement that the settings name."""
    settings, inputs, how = request.settings, request.inputs, request.settings.improvement
    read = {asset: inputs[asset] for asset in how.reads}
    by_id = {task.id: task for task in request.open_tasks()}
    given = Inputs(inputs["behaviour_policy"], inputs["rollouts"], read, by_id, request.kind)
    return improvement_kind(how.kind).improve(given, settings, request.out, job=job)
