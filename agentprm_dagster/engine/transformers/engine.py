"""Transformers' own generation and forward passes over whole conversations: nothing is remembered between turns."""

from collections.abc import Iterator, Sequence
from itertools import islice, takewhile

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel

from agentprm_dagster.engine.architectures import WITH_PRM, WITHOUT_PRM, context_of
from agentprm_dagster.engine.base import ContextOverflow, Limits, Sampled, WrongRoleError
from agentprm_dagster.engine.drawing import draw_tokens, shares_of
from agentprm_dagster.engine.whole_conversations import WholeConversations, by_conversation


class TransformersEngine(WholeConversations):
    """See `engine.base.Engine`."""

    def __init__(self, model: PreTrainedModel, *, batch: int) -> None:
        """`batch` conversations are read together, where the model's architecture is known to read no padding."""
        super().__init__()
        self.model = model.eval()
        # A checkpoint may ask for penalties and cuts of its own; a policy is the softmax of its logits.
        model.generation_config = GenerationConfig()
        self.is_prm = hasattr(model, "score")
        self.vocabulary: int = model.config.vocab_size
        self.tokens_read = 0
        self.batch = batch if model.config.model_type in WITH_PRM | WITHOUT_PRM else 1

    @torch.inference_mode()
    def sample(
        self, conversations: Sequence[int], n: int, limits: Limits, *, temperature: float, seeds: Sequence[int]
    ) -> Sampled:
        """See `engine.base.Engine`."""
        self._require(prm=False)
        how = GenerationConfig(
            max_new_tokens=limits.max_new_tokens,
            eos_token_id=limits.end,
            pad_token_id=limits.end,
            suppress_tokens=[token for token in limits.banned if token != limits.end] or None,
        )
        prompts = [self._ids[each] for each in conversations for _ in range(n)]
        shares = iter(shares_of(seeds, n, limits.max_new_tokens).flatten(0, 1))
        drawn = []
        for part in self._parts(prompts):
            of_part = torch.stack(list(islice(shares, len(part))))
            draws = LogitsProcessorList([Draws(of_part, temperature)] if temperature else [])
            drawn += self._generate(part, how, limits, draws)
        answers = [list(takewhile(lambda token: token != limits.end, ids)) for ids in drawn]
        finished = [limits.end in ids for ids in drawn]
        whole = [[*ids, limits.end] if ended else ids for ids, ended in zip(answers, finished, strict=True)]
        tokens = by_conversation(answers, n)
        self._continuations.update(zip(conversations, tokens, strict=True))
        return Sampled(tokens, by_conversation(finished, n), self._sums(prompts, whole).view(-1, n))

    def _generate(
        self, prompts: Sequence[list[int]], how: GenerationConfig, limits: Limits, draws: LogitsProcessorList
    ) -> list[list[int]]:
        """What follows each prompt, filled up with end tokens."""
        self._require_room(max(map(len, prompts)) + limits.max_new_tokens)
        self.tokens_read += sum(map(len, prompts))
        ids, sees = self._together(prompts, limits.end, side="left")
        out: torch.Tensor = self.model.generate(ids, attention_mask=sees, generation_config=how, logits_processor=draws)
        return out[:, ids.shape[1] :].tolist()

    @torch.inference_mode()
    def score(self, conversations: Sequence[int], continuations: Sequence[Sequence[Sequence[int]]]) -> torch.Tensor:
        """See `engine.base.Engine`."""
        self._require(prm=True)
        prompts, answers = self._behind(conversations, continuations)
        values = []
        for part in self._parts([[*prompt, *ids] for prompt, ids in zip(prompts, answers, strict=True)]):
            ids, sees = self._read(part)
            hidden = self.model.base_model(ids, attention_mask=sees).last_hidden_state
            ends = torch.tensor([len(row) - 1 for row in part])
            values.append(self.model.score(hidden[torch.arange(len(part)), ends]).flatten().float().cpu())
        return torch.cat(values).view(len(continuations), -1)

    @torch.inference_mode()
    def log_probs(self, conversations: Sequence[int], continuations: Sequence[Sequence[Sequence[int]]]) -> torch.Tensor:
        """See `engine.base.Engine`."""
        self._require(prm=False)
        return self._sums(*self._behind(conversations, continuations)).view(len(continuations), -1)

    def _sums(self, prompts: Sequence[list[int]], answers: Sequence[list[int]]) -> torch.Tensor:
        """log pi (N,) of each answer behind its prompt, in nats."""
        sums: list[float] = []
        starts = iter(map(len, prompts))
        for part in self._parts([[*prompt, *ids] for prompt, ids in zip(prompts, answers, strict=True)]):
            ids, sees = self._read(part)
            for row, logits in zip(part, self.model(ids, attention_mask=sees).logits, strict=True):
                start = next(starts)
                log_p = logits[start - 1 : len(row) - 1].float().log_softmax(-1).cpu()
                sums.append(float(log_p.gather(-1, torch.tensor(row[start:])[:, None]).sum()))
        return torch.tensor(sums)

    def _read(self, rows: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows as ids (b, T) and which of them count (b, T); padding stands behind, where nothing sees it."""
        self._require_room(max(map(len, rows)))
        self.tokens_read += sum(map(len, rows))
        return self._together(rows, 0, side="right")

    def _together(self, rows: Sequence[list[int]], filling: int, *, side: str) -> tuple[torch.Tensor, torch.Tensor]:
        ids = [torch.tensor(row) for row in rows]
        padded = [
            pad_sequence(each, batch_first=True, padding_value=value, padding_side=side)
            for each, value in ((ids, filling), ([torch.ones_like(row) for row in ids], 0))
        ]
        return padded[0].to(self.model.device), padded[1].to(self.model.device)

    def _parts(self, rows: Sequence[list[int]]) -> Iterator[Sequence[list[int]]]:
        for first in range(0, len(rows), self.batch):
            yield rows[first : first + self.batch]

    def _require(self, *, prm: bool) -> None:
        if self.is_prm != prm:
            raise WrongRoleError(type(self.model).__name__, is_prm=self.is_prm)

    def _require_room(self, tokens: int) -> None:
        context = context_of(self.model.config) if hasattr(self.model.config, "max_position_embeddings") else tokens
        if tokens > context:
            raise ContextOverflow(tokens, context)


class Draws(LogitsProcessor):
    """Leaves of all tokens the one that given random numbers draw: greedy generation then takes it."""

    def __init__(self, shares: torch.Tensor, temperature: float) -> None:
        """`shares` (N, T) are those of each answer's tokens."""
        self._shares, self._temperature, self._step = shares, temperature, 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Logits (N, V) that are all below one."""
        drawn = draw_tokens(scores.float() / self._temperature, self._shares[:, self._step])
        self._step += 1
        return torch.full_like(scores, -torch.inf).scatter_(1, drawn[:, None].to(scores.device), 0.0)
