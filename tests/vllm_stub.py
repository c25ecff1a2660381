"""A server that speaks what our client asks of vLLM, around transformers' own forward; and that fails on demand."""

import json
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import torch

from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.base import Limits, Role
from agentprm_dagster.engine.transformers.engine import TransformersEngine
from agentprm_dagster.engine.vllm.served import weights_digest

Fault = int | str
"""An HTTP status, or the text of an answer."""


class Stub:
    """One of them: its URL, and what it was asked."""

    def __init__(self, checkpoint: Path, role: Role, name: str | None, faults: Iterable[Fault]) -> None:
        load = checkpoints.load_policy if role == "policy" else checkpoints.load_prm
        self.model = load(checkpoint).eval()
        self.role, self.name = role, name or f"{role}-{weights_digest(checkpoint)[:16]}"
        self.faults, self.lock = deque(faults), Lock()
        self.asked: list[dict[str, Any]] = []
        self.url = ""

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """What vLLM answers to this."""
        with self.lock, torch.inference_mode():
            self.asked.append({"path": path, **body})
            return {"model": self.name, **(self._pooled(body) if path == "/pooling" else self._completed(body))}

    def _pooled(self, body: dict[str, Any]) -> dict[str, Any]:
        assert (body["task"], body["use_activation"]) == ("classify", False)
        hidden = self.model.base_model(torch.tensor([body["input"]])).last_hidden_state
        return {"data": [{"index": 0, "data": self.model.score(hidden[0, -1]).tolist()}]}

    def _completed(self, body: dict[str, Any]) -> dict[str, Any]:
        ids = body["prompt"]
        if "prompt_logprobs" in body:
            log_p = self.model(torch.tensor([ids])).logits[0].log_softmax(-1)
            told = [{str(token): {"logprob": float(row[token])}} for row, token in zip(log_p, ids[1:], strict=False)]
            return {"choices": [{"index": 0, "token_ids": [0], "prompt_logprobs": [None, *told]}]}
        assert body["n"] == 1 or body["temperature"] > 0, "vLLM refuses this"
        (end,) = body["stop_token_ids"]
        limits = Limits(end, body["max_tokens"], tuple(int(token) for token in body["logit_bias"]))
        engine = TransformersEngine(self.model, batch=8)
        engine.begin(0, ids)
        drawn = engine.sample([0], body["n"], limits, temperature=body["temperature"], seeds=[body["seed"]])
        choices = []
        for i, (tokens, ended, log_p) in enumerate(
            zip(drawn.tokens[0], drawn.finished[0], drawn.log_probabilities[0].tolist(), strict=True)
        ):
            whole = [*tokens, end] if ended else tokens
            log_ps = [log_p, *[0.0] * (len(whole) - 1)]
            choices.append({"index": i, "token_ids": whole, "logprobs": {"token_logprobs": log_ps}})
        return {"choices": choices[::-1]}


def served_by(stub: Stub) -> dict[str, Any]:
    """The setting that names it."""
    return {f"{stub.role}_url": stub.url}


@contextmanager
def stub(
    checkpoint: Path, role: Role = "policy", *, name: str | None = None, faults: Iterable[Fault] = ()
) -> Iterator[Stub]:
    """Serves a checkpoint under the name of its weights, or another; the first requests end with `faults`."""
    served = Stub(checkpoint, role, name, faults)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(200, {"data": [{"id": served.name}], "version": "0.0.stub"})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not served.faults:
                self._send(200, served.answer(self.path, body))
            elif isinstance(fault := served.faults.popleft(), int):
                self._send(fault, {"error": "on demand"})
            else:
                self._send(200, fault)

        def _send(self, status: int, answer: dict[str, Any] | str) -> None:
            sent = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
