"""A model server without a model that holds each request for HOLD_SECONDS. It runs in a pod."""

import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOLD_SECONDS = float(os.environ["HOLD_SECONDS"])


class Handler(BaseHTTPRequestHandler):
    """Probes and work."""

    def do_GET(self) -> None:
        self.answer(b"")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(HOLD_SECONDS)
        self.answer(b'{"outputs": []}')

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


class Server(ThreadingHTTPServer):
    """Ends when all its requests have been answered."""

    daemon_threads = False
    request_queue_size = 128


def main() -> None:
    server = Server(("0.0.0.0", 8080), Handler)  # noqa: S104 - the pod has a network of its own
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main()
