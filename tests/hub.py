"""A stand-in for the Hugging Face hub's HTTP API, as far as `hf upload` asks it: keeps what was committed."""

import json
from base64 import b64decode
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Hub(ThreadingHTTPServer):
    """A hub with empty repositories."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
        """The files of each repository, by `models/org/name` or `datasets/org/name`."""

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def hub() -> Iterator[Hub]:
    """A hub that runs within the block."""
    with Hub() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts == ["api", "repos", "create"]:
            asked = json.loads(body)
            self._answer({"url": f"{self.server.url}/{asked.get('organization', 'me')}/{asked['name']}"})
        elif parts == ["api", "validate-yaml"]:
            self._answer({"errors": [], "warnings": []})
        elif parts[-2] == "preupload":
            modes = {"uploadMode": "regular", "shouldIgnore": False}
            self._answer({"files": [{"path": file["path"], **modes} for file in json.loads(body)["files"]]})
        else:
            self._commit("/".join(parts[1:4]), map(json.loads, body.splitlines()))

    def _commit(self, repository: str, lines: Iterator[Any]) -> None:
        for line in lines:
            if line["key"] == "file":
                self.server.repositories[repository][line["value"]["path"]] = b64decode(line["value"]["content"])
        self._answer({"commitUrl": f"{self.server.url}/{repository}/commit/{'0' * 40}", "commitOid": "0" * 40})

    def _answer(self, content: object) -> None:
        text = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as it is called above
        """Says nothing."""
