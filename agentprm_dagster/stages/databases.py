"""How long Dagster waits for its SQLite databases while another process has them locked."""

from functools import cache
from typing import Any

BUSY_SECONDS = 600.0
"""A backup, a virus scanner or a busy disk lets go by then. Dagster's own 30 s fail a stage whose work is committed."""


@cache
def wait_for_locked_databases() -> None:
    """Makes every connection of this process that Dagster opens to SQLite wait for `BUSY_SECONDS`."""
    from sqlalchemy import Engine, event  # what Dagster opens them with; half a second to import

    @event.listens_for(Engine, "do_connect")
    def wait(dialect: Any, record: Any, arguments: list[Any], parameters: dict[str, Any]) -> None:
        if dialect.name == "sqlite" and "timeout" in parameters:  # Dagster names one, MLflow does not
            parameters["timeout"] = max(parameters["timeout"], BUSY_SECONDS)
