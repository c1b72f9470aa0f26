"""Stands for vLLM: its command line, health, models, chat and, exactly, the names of its metrics.

`vllm serve MODEL --served-model-name=NAME --host=HOST --port=PORT`. At most two requests are answered at once, each
takes a fifth of a second. With FAKE_VLLM_METRICS=old the names and labels are those of vLLM 0.6, else of 0.33.
"""

import argparse
import json
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

AT_ONCE = 2
ANSWER_SECONDS = 0.2
NEW = """\
vllm:num_requests_running{{engine="0",model_name="{model}"}} {running}
vllm:num_requests_waiting{{engine="0",model_name="{model}"}} {waiting}
vllm:num_requests_waiting_by_reason{{engine="0",model_name="{model}",reason="capacity"}} {waiting}
vllm:kv_cache_usage_perc{{engine="0",model_name="{model}"}} 0.25
vllm:request_success_total{{engine="0",finished_reason="stop",model_name="{model}"}} {answered}
vllm:e2e_request_latency_seconds_count{{engine="0",model_name="{model}"}} {answered}
"""
OLD = """\
vllm:num_requests_running{{model_name="{model}"}} {running}
vllm:num_requests_swapped{{model_name="{model}"}} 0.0
vllm:num_requests_waiting{{model_name="{model}"}} {waiting}
vllm:gpu_cache_usage_perc{{model_name="{model}"}} 0.25
vllm:e2e_request_latency_seconds_count{{model_name="{model}"}} {answered}
"""


class Engine:
    """What is being answered and what waits."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.known = threading.Lock()
        self.slots = threading.Semaphore(AT_ONCE)
        self.running = self.waiting = self.answered = 0

    def answer(self) -> None:
        """Take the time of one answer, after those before it."""
        with self.known:
            self.waiting += 1
        with self.slots:
            with self.known:
                self.waiting -= 1
                self.running += 1
            time.sleep(ANSWER_SECONDS)
            with self.known:
                self.running -= 1
                self.answered += 1

    def metrics(self) -> str:
        """The series as vLLM names them."""
        text = OLD if os.environ.get("FAKE_VLLM_METRICS") == "old" else NEW
        return text.format(model=self.model, running=self.running, waiting=self.waiting, answered=self.answered)


def handler(engine: Engine) -> type[BaseHTTPRequestHandler]:
    """The routes."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            row = {"id": engine.model, "object": "model", "created": 0, "owned_by": "vllm"}
            known = {
                "/health": ("text/plain", ""),
                "/metrics": ("text/plain; version=0.0.4", engine.metrics()),
                "/v1/models": ("application/json", json.dumps({"object": "list", "data": [row]})),
            }
            kind, text = known.get(self.path, ("text/plain", ""))
            self.reply(200 if self.path in known else 404, kind, text)

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if (self.path, asked["model"]) != ("/v1/chat/completions", engine.model):
                self.reply(404, "text/plain", "")
                return
            engine.answer()
            parts = [{"role": "assistant", "content": ""}, *({"content": word} for word in ("It", " is", " so", "."))]
            chunks: list[dict[str, Any]] = [{"index": 0, "delta": part, "finish_reason": None} for part in parts]
            chunks.append({"index": 0, "delta": {}, "finish_reason": "length"})
            common: dict[str, Any] = {
                "id": "chatcmpl-1",
                "object": "chat.completion.chunk",
                "created": 0,
                "model": engine.model,
            }
            lines = [f"data: {json.dumps({**common, 'choices': [chunk]})}\n\n" for chunk in chunks]
            self.reply(200, "text/event-stream", "".join([*lines, "data: [DONE]\n\n"]))

        def reply(self, status: int, kind: str, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            return

    return Handler


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="vllm")
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("model", type=Path)
    parser.add_argument("--served-model-name", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tensor-parallel-size", type=int, choices=[1], required=True)
    chosen = parser.parse_args()
    if not chosen.model.exists():
        parser.error(f"{chosen.model} does not exist")
    if not Path("/dev/shm").is_mount():
        parser.error("/dev/shm is not mounted")
    server = ThreadingHTTPServer((chosen.host, chosen.port), handler(Engine(chosen.served_model_name)))
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()


if __name__ == "__main__":
    main()
