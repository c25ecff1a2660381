"""What a stage asks a training for, as JSON: all that another process must know to train in its place."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agentprm_dagster.config import Experiment, TrainingCompute
from agentprm_dagster.config.asked import AskedSettings
from agentprm_dagster.envs.base import EnvironmentKind, Task, TaskRef
from agentprm_dagster.envs.kinds import kind_of
from agentprm_dagster.episodes.dialogue import Wording
from agentprm_dagster.episodes.stage import Monitor, Resume
from agentprm_dagster.launch.job import Job
from agentprm_dagster.section import Section


class RequestError(ValueError):
    """A file that asks for no training, or for one whose inputs are not there."""


class Request(Section):
    """One training of one stage."""

    stage: str
    """As a person writes it: `prm[2]`."""
    program: str
    """A module of `agentprm_dagster.programs`, by its name there."""
    experiment: Experiment
    """All settings; a program reads `settings`, which has those that the stage asked for."""
    asked: frozenset[str]
    """Sections, and single values by dotted names: what is recorded of the settings."""
    inputs: dict[str, Path]
    """The folders of the artifacts that are read, by role."""
    tasks: tuple[TaskRef, ...] = ()
    """Those that are played."""
    seed: int
    """Decides all that is drawn."""
    training: TrainingCompute = TrainingCompute()
    out: Path
    """The folder for what is made."""
    resume: Path
    """The folder where work that is not done is saved, and gone on from."""
    save_seconds: float
    """Between two saves."""

    @property
    def settings(self) -> Any:
        """The settings that the stage asked for; reading another one is a SettingError."""
        return AskedSettings(self.stage, self.asked, self.experiment)

    @property
    def kind(self) -> EnvironmentKind:
        """The kind of the experiment's environment."""
        return kind_of(self.experiment.environment.kind)

    @property
    def wording(self) -> Wording:
        """How that environment is told to a language model."""
        return self.kind.wording

    @property
    def experiment_seed(self) -> int:
        """The experiment's own."""
        return self.experiment.seed

    def open_tasks(self) -> list[Task]:
        """The tasks as they can be played."""
        return [kind_of(task.environment).open(task) for task in self.tasks]

    def job(self, monitor: Monitor) -> Job:
        """How the training is run."""
        resume = Resume(self.resume, self.save_seconds)
        return Job(seed=self.seed, monitor=monitor, resume=resume, compute=self.training)


def read_request(path: Path) -> Request:
    """The request in a file.

    Raises:
        RequestError: it cannot be read, something in it is wrong, or what it names is not there.
    """
    try:
        request = Request.model_validate_json(path.read_bytes())
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error}") from error
    except ValidationError as error:
        problems = (f"  {'.'.join(map(str, each['loc'])) or 'all'}: {each['msg']}" for each in error.errors())
        raise RequestError("\n".join((f"{path} asks for no training:", *problems))) from error
    named = {f"inputs.{role}": folder for role, folder in request.inputs.items()}
    named |= {f"tasks: {task.id}": task.path for task in request.tasks}
    if gone := [f"  {name}: {place}" for name, place in named.items() if not place.exists()]:
        raise RequestError("\n".join((f"{path} names what is not there (any more?):", *gone)))
    return request
