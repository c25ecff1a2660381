"""AgentPRM and InversePRM (arXiv 2502.10325) as Dagster assets.

Importing the package settles what the libraries underneath read from the environment when they are imported, so that
it is settled once for every way in: command line, Dagster's processes, tests. What the user has set is left alone.
"""

from os import environ

_SETTINGS = {
    # torch's OpenMP threads otherwise spin while they wait: on a busy machine 0.15 s becomes 8 s.
    "OMP_WAIT_POLICY": "passive",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    # Models are made here or named by a path; set it to 0 for a model that has to come from the Hugging Face hub.
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DAGSTER_DISABLE_TELEMETRY": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Its server would start eight processes for jobs that nobody here gives it.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    # By default it tries for four minutes. What it is not told in time is told later.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

for _name, _value in _SETTINGS.items():
    environ.setdefault(_name, _value)
