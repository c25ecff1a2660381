"""`agentprm serve`: ALFWorld's games for agents and trainers of others."""

from pathlib import Path

import typer

from agentprm_dagster.commands.ports import HOST, refuse_taken
from agentprm_dagster.envs.alfworld.gym_env import Engine, list_games
from agentprm_dagster.envs.alfworld.tasks import Split

NEEDS = "it needs the extra `openenv`: pip install 'agentprm_dagster[openenv]'"


class ServeError(Exception):
    """Nothing can be served."""


def serve_openenv(
    folder: Path | None, split: Split | None, port: int, engine: Engine, max_steps: int | None, sessions: int
) -> None:
    """Serves games by OpenEnv on this machine's loopback until it is interrupted.

    Raises:
        GamesNotFoundError: there are none.
        ServeError: OpenEnv is not installed.
        UiError: the port cannot be had.
    """
    games = list_games(split, folder)
    refuse_taken(port)
    try:
        import openenv.core.env_server  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise ServeError(f"OpenEnv cannot be imported ({error}); {NEEDS}") from error
    from agentprm_dagster.envs.alfworld.openenv_server import household_app

    app = household_app(games, engine=engine, max_steps=max_steps, sessions=sessions)
    limit = "no step limit" if max_steps is None else f"{max_steps} steps an episode"
    typer.echo(f"{len(games)} games on the engine {engine}, {limit}: http://{HOST}:{port} (Ctrl-C ends it)")
    uvicorn.run(app, host=HOST, port=port, log_level="warning", ws_max_size=2**20)
