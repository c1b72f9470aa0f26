"""Random load on some services: every few seconds each gets another number of senders, the same for the same seed.

python load.py SEED SECONDS URL=MOST ...
"""

import json
import random
import signal
import sys
import threading
import time
import urllib.request
from types import FrameType


class Target:
    """One service; `wanted` of its senders work, the others wait."""

    def __init__(self, url: str, most: int) -> None:
        self.url = url
        self.most = most
        self.wanted = 0
        for number in range(most):
            threading.Thread(target=self.send, args=(number,), daemon=True).start()

    def send(self, number: int) -> None:
        while True:
            if number >= self.wanted:
                time.sleep(0.2)
                continue
            try:
                request = urllib.request.Request(self.url, data=b"{}", method="POST")  # noqa: S310 - our own service
                with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
                    answer.read()
            except OSError:
                time.sleep(0.5)


def stop(_signal: int, _frame: FrameType | None) -> None:
    """End at once."""
    sys.exit(0)


def main() -> None:
    """Change the load for ever."""
    signal.signal(signal.SIGTERM, stop)
    source, seconds = random.Random(int(sys.argv[1])), float(sys.argv[2])
    targets = [Target(url, int(most)) for url, _, most in (word.rpartition("=") for word in sys.argv[3:])]
    while True:
        for target in targets:
            target.wanted = source.randint(0, target.most)
        print(json.dumps({target.url: target.wanted for target in targets}), flush=True)
        time.sleep(seconds)


if __name__ == "__main__":
    main()
