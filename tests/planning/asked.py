"""A step of training to be measured on a fake GPU, and what the arithmetic says of it."""

from dataclasses import dataclass, field
from typing import Any, Literal

from agentprm_dagster.planning.memory import Dtype, OptimizerName, Step
from agentprm_dagster.planning.shapes import shape_of_config


def config(**sizes: int) -> dict[str, Any]:
    """A Llama's, of Llama-3.2-3B's sizes unless others are named."""
    usual = {
        "vocab_size": 128_256, "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28,
        "num_attention_heads": 24, "num_key_value_heads": 8, "head_dim": 128,
    }  # fmt: skip
    return {**usual, **sizes, "max_position_embeddings": 131_072, "tie_word_embeddings": True}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Rows of so many tokens with an answer each, of Online DPO two answers behind so many tokens."""

    kind: Literal["sft", "prm", "dpo"]
    rows: int
    tokens: int
    config: dict[str, Any] = field(default_factory=config)
    answer: int = 60
    dtype: Dtype = "bfloat16"
    micro_batch_tokens: int | None = None
    checkpointing: bool = False
    optimizer: OptimizerName = "adamw"
    rank: int | None = None

    @property
    def read(self) -> int:
        """Tokens of a row, before padding."""
        return self.tokens + (2 * self.answer if self.kind == "dpo" else 0)

    @property
    def width(self) -> int:
        """Tokens that rows are padded to."""
        return -(-self.read // 32) * 32

    @property
    def piece(self) -> int:
        """Rows that are read at once; SFT counts their padding."""
        if self.micro_batch_tokens is None:
            return self.rows
        return min(max(self.micro_batch_tokens // (self.width if self.kind == "sft" else self.read), 1), self.rows)

    def step(self) -> Step:
        """As the arithmetic takes it."""
        shape, lora = shape_of_config(self.config, "the test's"), self.rank is not None
        return Step(
            shape=shape,
            role="prm" if self.kind == "prm" else "policy",
            rows=self.piece,
            width=self.width,
            several=self.piece < self.rows,
            learnt={"sft": 1, "prm": 0, "dpo": 2}[self.kind] * self.piece * self.answer,
            loss="comparison" if self.kind == "dpo" else "likelihood",
            masked=self.kind == "dpo",
            dtype=self.dtype,
            checkpointing=self.checkpointing,
            optimizer=self.optimizer,
            frozen=(shape.prm + (0 if lora else shape.policy)) if self.kind == "dpo" else 0,
            lora_rank=self.rank,
        )
