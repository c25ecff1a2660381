"""What can go wrong with games and engines, in words a user can act on."""

from agentprm_dagster.envs.base import TaskFileError, TasksCountError, TasksNotFoundError


class GamesNotFoundError(TasksNotFoundError):
    """No ALFWorld games where they were looked for."""


class GameFileError(TaskFileError):
    """A game file that cannot be played as it is."""


class BrokenGameError(GameFileError):
    """A game file that is cut short or is no JSON object."""


class OldWordingError(GameFileError):
    """A game file in the wording of alfworld before 0.4, which has "put" where today's has "move"."""


class OtherGoalError(GameFileError):
    """A game whose task is in words of people's own, where ALFWorld's sentences are needed."""


class EngineError(RuntimeError):
    """The stock engine's worker process failed."""


class GamesCountError(TasksCountError):
    """Fewer games than are needed, or numbers of games that cannot be generated."""


class DownloadError(RuntimeError):
    """ALFWorld's games could not be fetched."""
