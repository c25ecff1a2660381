"""Ties transformers trainers to a stage's monitor, and keeps them quiet otherwise."""

from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from agentprm_dagster.episodes.stage import Monitor


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
        self.monitor.metrics(logs or {}, state.global_step)


def watch(trainer: Trainer, monitor: Monitor) -> None:
    """The monitor is told what the trainer would print."""
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(MonitorCallback(monitor))
