"""The baseline of rollouts: the loop that one writes first.

All episodes advance in lock-step until the last has ended. At every turn the whole conversation is rendered, tokenized,
padded on the left and read again by Hugging Face's `generate`; episodes that are over are asked as well, and what they
answer is thrown away. Best-of-N asks N times, and its PRM reads every whole conversation with every answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.base import Task
from agentprm_dagster.episodes.parsing import parse_answer
from agentprm_dagster.episodes.records import Episode, Turn


@dataclass(frozen=True)
class ReferenceLoop:
    """A policy, perhaps with a PRM that chooses among `best_of` answers."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    max_steps: int
    max_new_tokens: int
    temperature: float
    """0 is greedy."""
    prm: PreTrainedModel | None = None
    best_of: int = 1

    @torch.inference_mode()
    def play(self, games: Sequence[Task]) -> list[Episode]:
        """One episode of every game, in the order of their ids."""
        environments = [game.environment() for game in games]
        observed = [environment.reset() for environment in environments]
        first = [observation.text for observation in observed]
        turns: list[list[Turn]] = [[] for _ in games]
        for _ in range(self.max_steps):
            prompts = [self._render(*dialogue) for dialogue in zip(first, turns, strict=True)]
            for i, response in enumerate(self._answer(prompts)):
                if observed[i].done:
                    continue
                answer, before = parse_answer(response), observed[i].admissible_commands
                observed[i] = environments[i].step(answer.action)
                admissible = answer.action in before
                turn = Turn(answer.reason, answer.action, observed[i].text, response, answer.parsed, admissible)
                turns[i].append(turn)
            if all(observation.done for observation in observed):
                break
        played = zip(games, first, turns, observed, strict=True)
        episodes = [
            Episode(f"{g.id}#0", g.id, g.kind, text, tuple(ts), reward=o.reward, truncated=not o.done)
            for g, text, ts, o in played
        ]
        return sorted(episodes, key=lambda episode: episode.episode_id)

    def _render(self, first: str, turns: Sequence[Turn]) -> str:
        messages = WORDING.conversation(first, turns, last_observation=True)
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def _answer(self, prompts: Sequence[str]) -> list[str]:
        if self.prm is None:
            return self._generate(prompts)
        tried = self._generate([prompt for prompt in prompts for _ in range(self.best_of)])
        end = self.tokenizer.eos_token
        whole = [prompts[i // self.best_of] + answer + end for i, answer in enumerate(tried)]
        values = self._values(whole).view(len(prompts), self.best_of)
        return [tried[i * self.best_of + best] for i, best in enumerate(values.argmax(-1).tolist())]

    def _generate(self, prompts: Sequence[str]) -> list[str]:
        batch, end = self._batch(prompts, "left"), self.tokenizer.eos_token_id
        sampling = {"do_sample": True, "temperature": self.temperature, "top_k": 0, "top_p": 1.0}
        out = self.model.generate(
            **batch,
            max_new_tokens=self.max_new_tokens,
            pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=end,
            suppress_tokens=[token for token in self.tokenizer.all_special_ids if token != end],
            **(sampling if self.temperature else {"do_sample": False}),
        )
        new = out[:, batch["input_ids"].shape[1] :].tolist()
        return [self.tokenizer.decode(ids[: ids.index(end)] if end in ids else ids) for ids in new]

    def _values(self, texts: Sequence[str]) -> torch.Tensor:
        """The PRM's logit at the last token of every text."""
        assert self.prm is not None
        batch = self._batch(texts, "right")
        hidden = self.prm.base_model(**batch).last_hidden_state
        last = batch["attention_mask"].sum(-1) - 1
        values: torch.Tensor = self.prm.score(hidden[torch.arange(len(texts)), last]).squeeze(-1)
        return values

    def _batch(self, texts: Sequence[str], side: str) -> dict[str, torch.Tensor]:
        batch = self.tokenizer(
            list(texts), return_tensors="pt", padding=True, padding_side=side, add_special_tokens=False
        )
        return {name: batch[name] for name in ("input_ids", "attention_mask")}
