"""Which MLflow is in use, and its address as people may see it: without passwords."""

from base64 import b64encode
from os import environ
from urllib.parse import parse_qsl, unquote

from agentprm_dagster.home import mlflow_folder
from agentprm_dagster.masking import MASK
from agentprm_dagster.masking import masked as mask

MLFLOW_URL, DAGSTER_URL = "AGENTPRM_MLFLOW_URL", "AGENTPRM_DAGSTER_URL"
"""The variables that name the addresses of the two UIs to those who link to them; `agentprm ui` sets both."""


def tracking_uri(chosen: str = "") -> str:
    """The MLflow in use, passwords and all: the one chosen, else MLFLOW_TRACKING_URI, else SQLite under the home."""
    return chosen or environ.get("MLFLOW_TRACKING_URI") or _default()


def mlflow_page(uri: str, page: str) -> str:
    """The address of a page of MLflow's UI: a server shows itself, a database is shown by `agentprm ui`.

    The UI is asked for its view of model training: it opens on pages for generative AI otherwise, where no runs are.
    """
    shown = environ.get(MLFLOW_URL) or "http://127.0.0.1:5000"
    base = without_credentials(uri) if is_server(uri) else shown.rstrip("/")
    return f"{base}/#/{page}{'&' if '?' in page else '?'}workflowType=machine_learning"


def dagster_url() -> str:
    """Where Dagster's UI listens; empty where nobody says."""
    return environ.get(DAGSTER_URL, "").rstrip("/")


def is_server(uri: str) -> bool:
    """Whether `uri` names a server, and not a database or a folder."""
    return uri.lower().startswith(("http://", "https://"))


def without_credentials(uri: str) -> str:
    """A server's address without user, password and query: for links, and for a client that gets them otherwise."""
    scheme, _, host = _split(uri)
    return scheme + host.partition("?")[0].partition("#")[0].rstrip("/")


def credentials(uri: str) -> tuple[str, str]:
    """User and password in `uri`, decoded; empty where there are none."""
    user, _, password = _split(uri)[1].partition(":")
    return unquote(user), unquote(password)


def masked(uri: str) -> str:
    """The address with `***` for user and password, and for what a query says."""
    scheme, userinfo, host = _split(uri)
    place, mark, _ = host.partition("?")
    return f"{scheme}{MASK + '@' if userinfo else ''}{place}{mark and '?' + MASK}"


def hidden(text: str, uri: str) -> str:
    """`text` with `***` for every secret that a client of `uri` knows."""
    user, password = credentials(uri)
    userinfo, query = _split(uri)[1], _split(uri)[2].partition("?")[2]
    secrets = {userinfo, userinfo.partition(":")[2], password, environ.get("MLFLOW_TRACKING_PASSWORD", "")}
    secrets |= {environ.get("MLFLOW_TRACKING_TOKEN", ""), b64encode(f"{user}:{password}".encode()).decode()}
    secrets |= {value for _, value in parse_qsl(query)}
    return mask(text, secrets)


def _default() -> str:
    """SQLAlchemy quotes the path as it will read it. The driver is named because MLflow makes the folders of a plain
    `sqlite:///` address, and makes them by their quoted names.
    """
    from sqlalchemy import URL  # a tenth of a second

    path = mlflow_folder() / "mlflow.db"
    return URL.create("sqlite+pysqlite", database=str(path)).render_as_string()


def _split(uri: str) -> tuple[str, str, str]:
    """Scheme, user and password, and the rest. A password may hold any character: the last `@` ends it."""
    scheme, mark, rest = uri.partition("://")
    if not mark or scheme.partition("+")[0] in ("sqlite", "file"):
        return scheme + mark, "", rest
    userinfo, _, host = rest.rpartition("@")
    return scheme + mark, userinfo, host
