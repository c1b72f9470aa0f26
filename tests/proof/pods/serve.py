"""A model server without a model: it holds each request for a while and says how many it holds. It runs in a pod."""

import json
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOLD_SECONDS = 0.5
PORT = 8080


class Gauge:
    """How many requests are being answered, and how many were."""

    def __init__(self) -> None:
        self.running = 0
        self.total = 0
        self.lock = threading.Lock()

    def __enter__(self) -> None:
        with self.lock:
            self.running += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.running -= 1
            self.total += 1

    def text(self) -> str:
        lines = ("engine_running", self.running), ("engine_waiting", 0), ("engine_total", self.total)
        return "".join(f"{name} {value}\n" for name, value in lines)


GAUGE = Gauge()


class Handler(BaseHTTPRequestHandler):
    """Probes, metrics and work."""

    def do_GET(self) -> None:
        self.answer(GAUGE.text() if self.path == "/metrics" else "{}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with GAUGE:
            time.sleep(HOLD_SECONDS)
        self.answer(json.dumps({"held": HOLD_SECONDS}))

    def answer(self, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


class Server(ThreadingHTTPServer):
    """Threads do not keep the process."""

    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    server = Server(("0.0.0.0", PORT), Handler)  # noqa: S104 - the pod has a network of its own
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.2)


if __name__ == "__main__":
    main()
