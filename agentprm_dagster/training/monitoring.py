"""Ties transformers trainers to a stage's monitor, and keeps them quiet otherwise."""

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from agentprm_dagster.core.stage import Monitor


class MonitorCallback(TrainerCallback):
    """Passes steps and logged numbers on."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self.monitor.progress(state.global_step, state.max_steps, "training steps")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        self.monitor.metrics({name: value for name, value in (logs or {}).items()}, state.global_step)
