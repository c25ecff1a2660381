"""Stands in for vLLM's server in a process of its own: the same arguments and answers of the same shape, no model.

PRETENDED_PIDS names a folder for a file called after each process that runs here; its content are the arguments and the
GPUs. PRETENDED_GATE, if it is set, names a file without which no question is answered. PRETENDED_END: `fails` ends at
once, `hangs` never answers. PRETENDED_STAYS: what it has started does not end with it.
"""

import argparse
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event
from typing import Any

parser = argparse.ArgumentParser(prog="vllm", allow_abbrev=False)
for name in (
    "model",
    "served-model-name",
    "host",
    "port",
    "dtype",
    "tensor-parallel-size",
    "gpu-memory-utilization",
    "generation-config",
    "load-format",
    "uvicorn-log-level",
):
    parser.add_argument(f"--{name}", required=True)
for name in ("max-model-len", "runner", "pooler-config", "logprobs-mode", "max-lora-rank", "lora-modules"):
    parser.add_argument(f"--{name}")
for name in (
    "enable-prefix-caching",
    "enable-prompt-tokens-details",
    "no-trust-remote-code",
    "enforce-eager",
    "enable-lora",
):
    parser.add_argument(f"--{name}", action="store_true")


class Handler(BaseHTTPRequestHandler):
    """Answers by the numbers of the prompt and the seed alone."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send({"data": [{"id": name} for name in names]} if self.path == "/v1/models" else {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/load_lora_adapter":
            print(f"loading {body['lora_path']}", flush=True)
            names.append(body["lora_name"])
            self._send({})
            return
        print("asked", flush=True)
        gate = os.environ.get("PRETENDED_GATE")
        while gate and not Path(gate).exists():
            Event().wait(0.01)
        self._send({"model": body["model"], **_answer(body)})

    def _send(self, answer: dict[str, Any]) -> None:
        sent = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_: object) -> None:
        pass


def _answer(body: dict[str, Any]) -> dict[str, Any]:
    if "input" in body:
        return {"data": [{"data": [float(sum(body["input"]))]}]}
    if "prompt_logprobs" in body:
        log_p = [{str(token): {"logprob": -1.0}} for token in body["prompt"][1:]]
        return {"choices": [{"prompt_logprobs": [None, *log_p]}]}
    choices = []
    for i in range(body["n"]):
        ids = [body["prompt"][-1], 6 + (body["seed"] + i) % 20, *body["stop_token_ids"]][: body["max_tokens"]]
        choices.append({"index": i, "token_ids": ids, "logprobs": {"token_logprobs": [-1.0] * len(ids)}})
    return {"choices": choices}


def _note(pid: int) -> None:
    (Path(os.environ["PRETENDED_PIDS"]) / str(pid)).write_text(
        json.dumps({**vars(arguments), "gpus": os.environ.get("CUDA_VISIBLE_DEVICES")}), encoding="utf-8"
    )


if __name__ == "__main__":
    arguments = parser.parse_args()
    names = [arguments.served_model_name]
    names += [arguments.lora_modules.partition("=")[0]] if arguments.lora_modules else []
    print("no memory left on the pretended GPU" if os.environ.get("PRETENDED_END") else "starting", flush=True)
    # As vLLM's does, it has a process that works.
    worker = "import time; time.sleep(600)" if os.environ.get("PRETENDED_STAYS") else "import sys; sys.stdin.read()"
    _note(subprocess.Popen([sys.executable, "-c", worker], stdin=subprocess.PIPE).pid)
    _note(os.getpid())
    if os.environ.get("PRETENDED_END") == "fails":
        sys.exit(3)
    if os.environ.get("PRETENDED_END") == "hangs":
        Event().wait()
    ThreadingHTTPServer((arguments.host, int(arguments.port)), Handler).serve_forever()
