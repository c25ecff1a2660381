"""Model-predictive reasoning (section 4.3 of the paper): the agent predicts what its answers lead to before it acts.

At every turn the policy samples N answers. A world is asked what the environment would reply to each; for h > 1 the
policy's likeliest next answer follows, and a reply to that, until h turns are predicted or the game is won. The PRM is
read behind the last reply, where it knows the consequence, and the first answer of the path with the highest
prior * log pi(answer) + logit(gamma^(turns - 1) Q) is taken: gamma is the discount of Eq. 1.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agentprm_dagster.agents.best_of_n import BestOfN, Future, Judge
from agentprm_dagster.agents.worlds import Path, World
from agentprm_dagster.engine.base import Engine
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.episodes.records import Observation, Response, State, Turn


class ModelPredictive(BestOfN):
    """Best-of-N that reads its PRM behind the predicted end of each answer."""

    def __init__(
        self,
        engine: Engine,
        chat: Chat,
        prm: Judge,
        world: World,
        *,
        turns: int,
        gamma: float,
        at_once: int,
        **settings: Any,
    ) -> None:
        """At most `at_once` paths of `turns` turns are predicted at a time, behind the conversations of all slots."""
        super().__init__(engine, chat, prm, **settings)
        self.world, self.turns, self.gamma, self.at_once = world, turns, gamma, at_once
        self.usage = world.usage

    def begin(self, slot: int, state: State) -> None:
        """Opens a conversation in a slot."""
        super().begin(slot, state)
        self.world.begin(slot, state)

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        """Tells a slot what its answer led to."""
        super().observe(slot, turn, observation)
        self.world.observe(slot, turn, observation)

    def _futures(self, slots: Sequence[int], answers: Sequence[Sequence[Response]]) -> list[list[Future]]:
        """What is predicted behind each answer; nothing where all answers of a slot agree."""
        paths: dict[tuple[int, Response], Path] = {}
        for slot, each in zip(slots, answers, strict=True):
            for answer in dict.fromkeys(each) if len(set(each)) > 1 else ():
                paths[slot, answer] = Path(slot, [])
                paths[slot, answer].answer(answer)
        waiting = list(paths.values())
        for first in range(0, len(waiting), self.at_once):
            self._predict(waiting[first : first + self.at_once])
        futures = {key: self._future(path) for key, path in paths.items()}
        return [
            [futures.get((slot, answer), Future()) for answer in each]
            for slot, each in zip(slots, answers, strict=True)
        ]

    def _predict(self, paths: Sequence[Path]) -> None:
        """Leads each path on to its end."""
        for turn in range(self.turns):
            if turn:
                over = self.world.over(paths)
                paths = [path for path, is_over in zip(paths, over, strict=True) if not is_over]
                if not paths:
                    return
                self._answer(paths)
            for path, text in zip(paths, self.world.replies(paths), strict=True):
                path.reply(text)

    def _answer(self, paths: Sequence[Path]) -> None:
        """The policy's likeliest next answer on each path, each in a cache slot of its own."""
        spare = range(self.slots, self.slots + len(paths))
        for slot, path in zip(spare, paths, strict=True):
            here = self.dialogues.states[path.slot]
            seen = Observation(path.turns[-1].observation, (), reward=0.0, done=False)
            self.dialogues.begin(slot, replace(here, turns=(*here.turns, *path.turns), observation=seen))
        sampled = self._draw(spare, 1, 0.0)
        for path, (answer,) in zip(paths, self._answers(sampled), strict=True):
            path.answer(answer)

    def _future(self, path: Path) -> Future:
        first, *later = path.turns
        ids = self.chat.follow_up(first.observation)
        for turn in later:
            ids += self.chat.answer(turn.response, turn.tokens) + self.chat.follow_up(turn.observation)
        return Future(tuple(ids), self.gamma ** len(later))
