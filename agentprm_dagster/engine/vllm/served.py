"""A checkpoint behind vLLM: servers that are started for it, or one that is there and is asked what it serves."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2

from agentprm_dagster.engine.base import Role
from agentprm_dagster.engine.checkpoint_files import (
    ADAPTER,
    CheckpointError,
    is_adapter,
    read_object,
    require_plain_model,
    require_plain_tokenizer,
    weight_files,
)
from agentprm_dagster.engine.vllm.answers import OfModel, Version, read_answer
from agentprm_dagster.engine.vllm.client import Client
from agentprm_dagster.engine.vllm.server import Adapter, Server, VllmError, gpus_of, vllm_version

if TYPE_CHECKING:
    from agentprm_dagster.engine.adapters import Base
    from agentprm_dagster.engine.vllm.kind import Settings
    from agentprm_dagster.engine.vllm.placed import PlacedServer

T = TypeVar("T", bound=OfModel)


@dataclass
class Served:
    """A model that can be asked. To be closed; with this process its servers end at the latest."""

    name: str
    """What it is called there: its role and the digest of its weights."""
    role: Role
    architecture: str
    vocabulary: int
    context: int
    """The longest conversation, in tokens."""
    client: Client
    servers: "Sequence[Server | PlacedServer]"
    """Those that were started."""
    merged: TemporaryDirectory[str] | None = None
    """Where what an adapter makes of its base model lies meanwhile."""
    adapter: Adapter | None = None
    """The one that is served beside its base model."""

    def ask(self, path: str, bodies: Sequence[Mapping[str, Any]], shape: type[T]) -> list[T]:
        """The answers of these very weights; a server that has ended meanwhile is started again beside the others.

        Raises:
            VllmError: there is none, or it is of other weights or another shape.
        """
        if not all(server.ended for server in self.servers):
            for server in self.servers:
                server.start_again()
        answers = self.client.ask(path, [{**body, "model": self.name} for body in bodies], shape)
        for answer in answers:
            if answer.model != self.name:
                raise VllmError(f"expected answers of {self.name}, got those of {answer.model}")
        return answers

    def switch(self, checkpoint: Path, role: Role) -> bool:
        """See `engine.base.Switching`: an adapter of the same base, of a rank that the servers are made for.

        Raises:
            VllmError: a server refuses it.
        """
        if not self.adapter or role != self.role or not is_adapter(checkpoint):
            return False
        new = _adapter(checkpoint, self.role)
        if _base(checkpoint) != _base(self.adapter.folder) or new.rank > self.adapter.most:
            return False
        for server in self.servers:
            assert isinstance(server, Server)
            server.answer_with(new)
        self.name, self.adapter = new.name, new
        _require_weights(self)
        return True

    def close(self) -> None:
        """Ends what was started."""
        self.client.close()
        for server in self.servers:
            server.close()
        if self.merged:
            self.merged.cleanup()


def served(checkpoint: Path, role: Role, settings: "Settings") -> Served:
    """A checkpoint's model, when its servers answer.

    Raises:
        CheckpointError: the folder holds no model of that role.
        VllmError: no server could be started, or the one that is named serves other weights.
    """
    name, merged, adapter = _name(checkpoint, role), None, None
    if is_adapter(checkpoint) and role == "policy" and settings.adapters == "hot":
        adapter = _adapter(checkpoint, role)
        checkpoint = _base(checkpoint).folder()
    elif is_adapter(checkpoint):
        from agentprm_dagster.engine.checkpoints import save_merged  # loads torch

        merged = TemporaryDirectory(prefix="agentprm-merged-")
        save_merged(checkpoint, Path(merged.name), prm=role == "prm")
        checkpoint = Path(merged.name)
    config = _config_of(checkpoint, role)
    url = settings.policy_url if role == "policy" else settings.prm_url
    servers, transport = ([], None) if url else _start(checkpoint, name, role, settings, adapter)
    by_url = {server.url: server for server in servers}
    model = Served(
        name,
        role,
        architecture=config["architectures"][0],
        vocabulary=int(config["vocab_size"]),
        context=settings.context or int(config.get("max_position_embeddings") or 2**31),
        client=Client(
            [url.rstrip("/")] if url else list(by_url),
            timeout=settings.timeout,
            retries=settings.retries,
            words=lambda at: f"It printed:\n{by_url[at].words()}" if at in by_url else "Is it still there?",
            transport=transport,
        ),
        servers=servers,
        merged=merged,
        adapter=adapter,
    )
    try:
        for server in servers:
            server.wait(settings.start_seconds)
        _require_weights(model)
    except BaseException:
        model.close()
        raise
    return model


def _name(checkpoint: Path, role: Role) -> str:
    return f"{role}-{weights_digest(checkpoint)[:16]}"


def _adapter(checkpoint: Path, role: Role) -> Adapter:
    rank = read_object(checkpoint / ADAPTER).get("r")
    if not isinstance(rank, int):
        raise CheckpointError(f"{checkpoint / ADAPTER}: expected r, the adapter's rank, got {rank!r}")
    return Adapter(_name(checkpoint, role), checkpoint, rank)


def _base(adapter: Path) -> "Base":
    from agentprm_dagster.engine.adapters import base_of  # loads torch

    return base_of(adapter)


def weights_digest(checkpoint: Path) -> str:
    """sha256, in hex, over a checkpoint's weights: files in the order of their names."""
    digest = hashlib.sha256()
    for path in weight_files(checkpoint):
        with path.open("rb") as weights:
            digest.update(hashlib.file_digest(weights, "sha256").digest())
    return digest.hexdigest()


def version(settings: "Settings") -> str:
    """The version of the servers that settings name, or of the environment that they are started in.

    Raises:
        VllmError: neither says it.
    """
    if url := settings.policy_url or settings.prm_url:
        where = f"{url.rstrip('/')}/version"
        try:
            response = httpx2.get(where, timeout=settings.timeout, trust_env=False).raise_for_status()
        except httpx2.HTTPError as error:
            raise VllmError(f"expected the version of vLLM from {where}: {type(error).__name__}: {error}") from error
        return read_answer(Version, response.content, where).version
    return vllm_version()


def _start(
    checkpoint: Path, name: str, role: Role, settings: "Settings", adapter: Adapter | None
) -> "tuple[Sequence[Server | PlacedServer], httpx2.AsyncBaseTransport | None]":
    """Servers, and how they are reached if not by their addresses."""
    if settings.launch == "ray":
        from agentprm_dagster.engine.vllm.placed import ThroughRay, start

        placed = start(checkpoint, name, role, settings)
        return placed, ThroughRay(placed)
    several = settings.replicas > 1
    gpus = [gpus_of(i, settings.tensor_parallel) if several else None for i in range(settings.replicas)]
    if adapter:
        name = f"base-{_base(adapter.folder).digest[:16]}"
    return [Server(checkpoint, name, role, settings, gpus=each, adapter=adapter) for each in gpus], None


def _require_weights(model: Served) -> None:
    """VllmError where a server serves something else: answers of other weights would be told as this model's."""
    for url, names in model.client.models().items():
        if model.name not in names:
            raise VllmError(
                f"expected {url} to serve {model.name}, which names the weights; it serves "
                f"{', '.join(names) or 'nothing'}: start it with --served-model-name {model.name} on this checkpoint, "
                "or let the stage start its own"
            )


def _config_of(checkpoint: Path, role: Role) -> dict[str, Any]:
    """What config.json says of a model that may be served; CheckpointError where it is none of that role."""
    require_plain_model(checkpoint)
    require_plain_tokenizer(checkpoint)
    config = read_object(checkpoint / "config.json")
    heads = "ForSequenceClassification" if role == "prm" else "ForCausalLM"
    if not any(str(each).endswith(heads) for each in config.get("architectures") or ()):
        raise CheckpointError(f"{checkpoint} is no {role}: expected an architecture that ends with {heads}")
    return config
