"""Every setting of an experiment, and where and how it is computed; what does not go together is refused.

A YAML (`catalog`) names only what differs from the defaults here; the resolved settings go into every manifest.
"""

from agentprm_dagster.config.compute import Compute, PlayingCompute, TrainingCompute
from agentprm_dagster.config.data import (
    Demonstrations,
    Dialogue,
    Evaluation,
    Gates,
    Lookahead,
    Pretraining,
    Rollouts,
)
from agentprm_dagster.config.experiment import Experiment
from agentprm_dagster.config.models import (
    InversePrm,
    Prm,
    Sft,
    WorldModel,
)
from agentprm_dagster.engine.served.settings import Llm
from agentprm_dagster.engine.settings import Model
from agentprm_dagster.section import HeadTraining

__all__ = [
    "Compute",
    "Demonstrations",
    "Dialogue",
    "Evaluation",
    "Experiment",
    "Gates",
    "HeadTraining",
    "InversePrm",
    "Llm",
    "Lookahead",
    "Model",
    "PlayingCompute",
    "Pretraining",
    "Prm",
    "Rollouts",
    "Sft",
    "TrainingCompute",
    "WorldModel",
]
