"""The application that openenv.yaml names: the games under ALFWORLD_DATA, on the fast engine, cut after 50 commands.

`agentprm serve --openenv` serves the same with options.
"""

import uvicorn

from agentprm_dagster.envs.alfworld.gym_env import list_games
from agentprm_dagster.envs.alfworld.openenv_server import household_app

app = household_app(list_games(), max_steps=50)


def main() -> None:
    """Serves on this machine alone."""
    uvicorn.run(app, host="127.0.0.1", port=8000)


if __name__ == "__main__":
    main()
