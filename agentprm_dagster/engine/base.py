"""What an engine is to everything that plays, ranks and judges: one language model over conversations held by number.

Conversations are token ids; text, chat templates and turns are above it (`agents.dialogues`). A kind of engine is a
module, with one line in `engine.kinds`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch

Role = Literal["policy", "prm"]
"""A causal language model, or one with a scalar head: a process reward model."""


class ContextOverflow(ValueError):
    """A conversation that has outgrown the model's context."""

    def __init__(self, tokens: int, context: int) -> None:
        super().__init__(
            f"a conversation needs {tokens} tokens, the model holds {context}: raise its context or lower max_steps or "
            "max_new_tokens"
        )


class WrongRoleError(TypeError):
    """A policy that was asked for values, or a process reward model that was asked for answers."""

    def __init__(self, architecture: str, *, is_prm: bool) -> None:
        got, expected = ("a process reward model", "a policy")[:: 1 if is_prm else -1]
        super().__init__(f"expected {expected}, got {got}: {architecture}")


@dataclass(frozen=True, slots=True)
class Limits:
    """What answers may hold, and when they end."""

    end: int
    """The token that ends an answer."""
    max_new_tokens: int
    """An answer that has not ended by then is cut."""
    banned: tuple[int, ...] = ()
    """Tokens that are never drawn."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """Candidate answers of B conversations, n each."""

    tokens: list[list[list[int]]]
    """[B][n] token ids without the end token."""
    finished: list[list[bool]]
    """[B][n] whether the answer ended by itself; else it was cut at the token limit."""
    log_probabilities: "torch.Tensor"
    """(B, n) log pi(answer | conversation) at temperature 1, in nats: the model's own, of all its vocabulary, tokens
    that are never drawn included. Of an answer that was cut, without an end token."""

    def count(self) -> int:
        """How many tokens were drawn, end tokens included."""
        answers = (len(ids) for row in self.tokens for ids in row)
        return sum(answers) + sum(map(sum, self.finished))


class Engine(Protocol):
    """One model over conversations that are held by number, 0 to as many as it was opened for.

    Every method that reads raises ContextOverflow where a conversation outgrows the model's context. Several answers of
    one conversation never see each other.
    """

    vocabulary: int
    """How many tokens the model knows."""

    @property
    def tokens_read(self) -> int:
        """How many were fed so far: what was read before is not read again by engines that remember it."""

    def begin(self, conversation: int, ids: Sequence[int]) -> None:
        """Starts a conversation, in the place of what this number held; it is read when it is next needed."""

    def extend(self, conversation: int, ids: Sequence[int]) -> None:
        """Goes on with a conversation."""

    def prefill(self, conversations: Sequence[int]) -> None:
        """Reads them now, so that others which begin alike need not read that again; may do nothing."""

    def sample(
        self,
        conversations: Sequence[int],
        n: int,
        limits: Limits,
        *,
        temperature: float,
        seeds: Sequence[int],
    ) -> Sampled:
        """n answers to each conversation; none becomes part of it. Temperature 0 is greedy.

        `seeds`, one a conversation, in [0, 2^63), decide what is drawn, whoever else is answered at the same time.

        Raises:
            WrongRoleError: it is a process reward model.
        """

    def score(self, conversations: Sequence[int], continuations: Sequence[Sequence[Sequence[int]]]) -> "torch.Tensor":
        """The value (B, n), a logit, at the last token of each of n continuations of each conversation.

        Raises:
            WrongRoleError: it has no scalar head.
        """

    def log_probs(
        self, conversations: Sequence[int], continuations: Sequence[Sequence[Sequence[int]]]
    ) -> "torch.Tensor":
        """log pi (B, n) of each of n continuations of each conversation, the sum over its tokens, in nats.

        Raises:
            WrongRoleError: it is a process reward model.
        """

    def keep(self, conversations: Sequence[int], choice: Sequence[int], tokens: Sequence[int]) -> None:
        """Makes part of each conversation what was last sampled, scored or given a log-probability behind it.

        Args:
            choice: which of the n, of each.
            tokens: how many of its first tokens, of each.
        """


def answer_seed(seed: int, episode: str, turn: int, n: int) -> int:
    """The seed of n answers in one state of an episode: in [0, 2^63), and the same whoever else is being played."""
    digest = sha256(f"{seed} {episode} {turn} {n}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@runtime_checkable
class Closing(Protocol):
    """A model that is more than memory: processes and connections, which `close` ends; twice is as good as once."""

    def close(self) -> None:
        """Ends them. Engines around the model answer nothing more."""


@runtime_checkable
class Switching(Protocol):
    """A model that can become another checkpoint's, sooner than that could be loaded."""

    def switch(self, checkpoint: Path, role: Role) -> bool:
        """Whether it is that checkpoint's model now; where not, it is what it was."""


class EngineKind(Protocol):
    """What a kind of engine's module holds.

    It may also hold `versions(settings) -> dict[str, str]`, for manifests: what it computes with and this process's own
    libraries do not tell, such as the GPU's name or the versions of a server.
    """

    Settings: Any
    """The class of its settings (`engine.settings.EngineSettings`), with `kind: Literal[name]` as tag."""

    def load(self, checkpoint: Path, role: Role, settings: Any) -> Any:
        """The model in a checkpoint's folder, to be opened any number of times; `Closing` if it must be closed.

        Raises:
            CheckpointError: it cannot be loaded, or is of another role.
            ArchitectureError: this engine does not compute it as transformers does.
        """

    def open(self, model: Any, settings: Any, *, conversations: int) -> Engine:
        """An engine for so many conversations, around a model that `load` answered."""
