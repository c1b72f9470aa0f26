"""A training run without a model: it counts seconds, saves its count after each, and goes on from there."""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

INTERRUPTED = 75


def stop(_signal: int, _frame: FrameType | None) -> None:
    """Leave the loop; the count is saved on the way out."""
    raise KeyboardInterrupt


def report(document: dict[str, object]) -> None:
    """Write the termination message that the operator reads."""
    Path("/dev/termination-log").write_text(json.dumps({"version": 1, **document}))


def main() -> int:
    """Work for as many seconds as the first argument says, over all attempts; returns the exit code."""
    signal.signal(signal.SIGTERM, stop)
    needed, output = int(sys.argv[1]), Path(os.environ["MODELSERVICE_OUTPUT_DIR"])
    checkpoint = Path(os.environ["MODELSERVICE_CHECKPOINT_DIR"]) / "count"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    count = int(checkpoint.read_text()) if checkpoint.exists() else 0
    try:
        while count < needed:
            time.sleep(1)
            count += 1
            checkpoint.write_text(str(count))
    except KeyboardInterrupt:
        report({"outcome": "Interrupted", "message": f"Stopped after {count} of {needed} steps."})
        return INTERRUPTED
    output.mkdir(parents=True, exist_ok=True)
    model = str(count).encode()
    (output / "model").write_bytes(model)
    digest = f"sha256:{hashlib.sha256(model).hexdigest()}"
    report({"outcome": "Succeeded", "artifact": {"path": str(output), "digest": digest, "bytes": len(model)}})
    return 0


if __name__ == "__main__":
    sys.exit(main())
