"""Sends requests to one URL without pause and prints, every second, how many were sent and how many failed.

python senders.py URL SENDERS
"""

import json
import sys
import threading
import time
import urllib.request

LOCK = threading.Lock()
COUNTS = {"sent": 0, "failed": 0}
LAST = [""]


def send(url: str) -> None:
    while True:
        failure = ""
        try:
            request = urllib.request.Request(url, data=b"{}", method="POST")  # noqa: S310 - our own service
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
                answer.read()
        except OSError as error:
            failure = repr(error)
        with LOCK:
            COUNTS["sent"] += 1
            if failure:
                COUNTS["failed"] += 1
                LAST[0] = failure


def main() -> None:
    for _ in range(int(sys.argv[2])):
        threading.Thread(target=send, args=(sys.argv[1],), daemon=True).start()
    while True:
        time.sleep(1)
        with LOCK:
            print(json.dumps({**COUNTS, "last": LAST[0]}), flush=True)


if __name__ == "__main__":
    main()
