"""A toy kind of policy improvement for tests: the policy learns its own won episodes (filtered behaviour cloning)."""

from pathlib import Path
from typing import Any, Literal

from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.improvement.inputs import Inputs
from agentprm_dagster.improvement.settings import ImprovementSettings
from agentprm_dagster.launch.job import Job
from agentprm_dagster.section import Epochs


class Settings(ImprovementSettings):
    """How often won episodes are read."""

    kind: Literal["imitation"] = "imitation"
    epochs: Epochs = 1

    @property
    def sections(self) -> tuple[str, ...]:
        return (*super().sections, "sft")


def improve(inputs: Inputs, settings: Any, out: Path, job: Job) -> StageReport:
    from agentprm_dagster.engine import checkpoints
    from agentprm_dagster.engine.chat import Chat
    from agentprm_dagster.reports.improvement_report import improvement_report
    from agentprm_dagster.training.saving import save_trained
    from agentprm_dagster.training.sft import fit, sft_rows

    model, tokenizer = checkpoints.load_policy(inputs.policy), checkpoints.load_tokenizer(inputs.policy)
    won = [episode for episode in inputs.episodes if episode.won]
    rows = sft_rows(won, Chat(tokenizer, inputs.environment.wording), settings.dialogue.format)
    how = settings.sft.model_copy(update={"epochs": settings.improvement.epochs})
    result = fit(model, rows, how, job)
    save_trained(model, tokenizer, out)
    step = {"loss": result["train_loss"], "kl": 0.0, "pairs": float(len(rows))}
    return improvement_report([step], planned=1, max_kl=settings.gates.max_kl)
