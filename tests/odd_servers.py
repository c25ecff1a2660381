"""Servers whose answers are damaged at random, asked by our client: an answer that its body bears out, or an error."""

import json
import random
from copy import deepcopy
from typing import Any

from agentprm_dagster.config import Llm
from agentprm_dagster.engine.served.chat_server import ChatServer
from agentprm_dagster.engine.served.replies import Reply
from agentprm_dagster.engine.served.served_model import LlmError, ServedModel
from chat_servers import KEY, LOOK, Sent, completion, proxy_before

ASKED = [{"role": "user", "content": "You are in the middle of a room."}]
SETTINGS = Llm(temperature=0, max_new_tokens=40, retries=0)
STATUSES = (200, 200, 200, 200, 200, 200, 204, 302, 400, 401, 404, 422, 429, 500, 503)
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**40, 1.5, 3.0, float("nan"), "", "12", "\ud800", "\x00", LOOK, KEY, [], {}, [None],
    [{"type": "text", "text": LOOK}], [{"type": "text"}], {"message": KEY, "code": 429}, "length", "content_filter",
)  # fmt: skip


def odd_answers(seed: int, count: int) -> int:
    """Asks `count` servers' answers, each damaged in one to three places; how many were asked.

    Raises:
        AssertionError: an answer that its body does not bear out, another error than LlmError, or the key in one.
    """
    rng = random.Random(seed)
    bodies = [_damaged(rng) for _ in range(count)]
    left = iter(bodies)
    with proxy_before(lambda question: next(left)) as proxy:
        server = ChatServer(ServedModel("it", proxy.url, KEY), SETTINGS)
        try:
            for sent in bodies:
                _require_true(server, sent)
        finally:
            server.close()
    return count


def _require_true(server: ChatServer, sent: Sent) -> None:
    try:
        told = server.ask(ASKED, 0.0)
    except LlmError as error:
        assert KEY not in str(error), sent
        return
    assert isinstance(told, Reply), sent
    assert (sent.status, sent.how) == (200, "whole"), sent
    body = json.loads(sent.body)
    said, usage = body["choices"][0]["message"].get("content"), body["usage"]
    texts = [part["text"] for part in said if part["type"] == "text"] if isinstance(said, list) else [said or ""]
    assert told.text == "".join(texts).replace(KEY, "***"), sent
    for count, name in ((told.tokens_read, "prompt_tokens"), (told.tokens_drawn, "completion_tokens")):
        assert type(usage[name]) in (int, float), sent
        assert count == usage[name] >= 0, sent
    assert not body.get("error"), sent


def _damaged(rng: random.Random) -> Sent:
    body: Any = json.loads(completion(LOOK))
    for _ in range(rng.randint(0, 3)):
        body = _changed(body, rng)
    raw = json.dumps(body).encode()
    if rng.random() < 0.1:
        raw = raw[: rng.randrange(len(raw))]
    if rng.random() < 0.1:
        raw = bytes(rng.randrange(256) for _ in range(rng.randrange(40)))
    return Sent(raw, rng.choice(STATUSES), "cut" if rng.random() < 0.1 else "whole")


def _changed(value: Any, rng: random.Random) -> Any:
    """`value` with something odd in the place of something in it, or without it, or with more."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.1:
        return deepcopy(rng.choice(ODD))
    place = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
    kind = rng.random()
    if kind < 0.15:
        del value[place]
    elif kind < 0.25 and isinstance(value, dict):
        value[rng.choice(("error", "usage", "content", "choices", "refusal"))] = deepcopy(rng.choice(ODD))
    else:
        value[place] = _changed(value[place], rng)
    return value
