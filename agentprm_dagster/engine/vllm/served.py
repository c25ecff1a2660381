"""A checkpoint behind vLLM: servers that are started for it, or one that is there and is asked what it serves."""

import atexit
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentprm_dagster.engine.base import Role
from agentprm_dagster.engine.checkpoint_files import CheckpointError
from agentprm_dagster.engine.vllm.client import Client
from agentprm_dagster.engine.vllm.server import Server, VllmError

if TYPE_CHECKING:
    from agentprm_dagster.engine.vllm.kind import Settings

_CHUNK = 2**24


@dataclass
class Served:
    """A model that can be asked. To be closed; what was started is closed with the process at the latest."""

    name: str
    """What it is called there: its role and the digest of its weights."""
    role: Role
    config: dict[str, Any]
    """The checkpoint's."""
    client: Client
    servers: list[Server] = field(default_factory=list)

    def close(self) -> None:
        """Ends what was started."""
        self.client.close()
        for server in self.servers:
            server.close()


def served(checkpoint: Path, role: Role, settings: "Settings") -> Served:
    """A checkpoint's model, when its servers answer.

    Raises:
        CheckpointError: the folder holds no model of that role.
        VllmError: no server could be started, or the one that is named serves other weights.
    """
    config, name = _config_of(checkpoint, role), f"{role}-{weights_digest(checkpoint)[:16]}"
    url = settings.policy_url if role == "policy" else settings.prm_url
    servers: list[Server] = []
    if url is None:
        gpus = (
            [None] if settings.replicas == 1 else [_gpus(i, settings.tensor_parallel) for i in range(settings.replicas)]
        )
        servers = [Server(checkpoint, name, role, settings, each) for each in gpus]
    by_url = {server.url: server for server in servers}
    client = Client(
        list(by_url) or [str(url)],
        timeout=settings.timeout,
        retries=settings.retries,
        words=lambda at: f"It printed:\n{by_url[at].words()}" if at in by_url else "Is it still there?",
    )
    model = Served(name, role, config, client, servers)
    atexit.register(model.close)
    for server in servers:
        server.wait(settings.start_seconds)
    _require(model)
    return model


def weights_digest(checkpoint: Path) -> str:
    """sha256, in hex, over a checkpoint's weights: files in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(checkpoint.glob("*.safetensors")):
        with path.open("rb") as weights:
            while chunk := weights.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _require(model: Served) -> None:
    """VllmError where a server serves something else: answers of other weights would be told as this model's."""
    for url, models in model.client.models().items():
        names = [str(each.get("id")) for each in models]
        if model.name not in names:
            raise VllmError(
                f"expected {url} to serve {model.name}, which names the weights; it serves "
                f"{', '.join(names) or 'nothing'}: "
                f"start it with --served-model-name {model.name} on this checkpoint, or let the stage start its own"
            )


def _config_of(checkpoint: Path, role: Role) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{checkpoint}: expected a config.json that can be read: {error}") from error
    heads = "ForSequenceClassification" if role == "prm" else "ForCausalLM"
    if not any(str(each).endswith(heads) for each in config.get("architectures") or ()):
        raise CheckpointError(f"{checkpoint} is no {role}: expected an architecture that ends with {heads}")
    return config


def _gpus(replica: int, each: int) -> str:
    return ",".join(str(replica * each + i) for i in range(each))
