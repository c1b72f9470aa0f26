"""`make down`: stops the local cluster, removes .local/, and checks that nothing of it is left."""

import json
import shutil
import subprocess
import sys

import leftovers
from steps import REPO

LOCAL = REPO / ".local"
STATE = LOCAL / "run" / "state.json"
LOCALCLUSTER = REPO / "bin" / "localcluster"


def running_cluster() -> tuple[list[leftovers.Process], int | None]:
    """Return all processes of the cluster and the port of its API, as its own record of itself names them."""
    if not STATE.exists():
        return [], None
    state = json.loads(STATE.read_text())
    first = leftovers.read_process(int(state["pid"]))
    if first is None or "localcluster" not in first.command:
        return [], None
    return leftovers.family([first]), int(state["port"])


def main() -> int:
    """Return 0 when nothing is left, else 1 with a line for each leftover."""
    members, port = running_cluster()
    if LOCALCLUSTER.exists() and LOCAL.exists():
        stopped = subprocess.run([LOCALCLUSTER, "down", "--dir", LOCAL], check=False)
        if stopped.returncode:
            print(f"bin/localcluster down failed; its state is kept in {LOCAL}", file=sys.stderr)
            return stopped.returncode
    left = [str(process) for process in leftovers.wait_gone(members)]
    left += [f"mount {point}" for point in leftovers.mounts_below(LOCAL)]
    left += [f"listening port {port}"] if port is not None and leftovers.listens(port) else []
    for line in left:
        print(f"left behind: {line}", file=sys.stderr)
    if left:
        return 1
    try:
        shutil.rmtree(LOCAL)
    except FileNotFoundError:
        print("There is no local cluster.")
        return 0
    except OSError as problem:
        print(f"{problem.filename} could not be removed: {problem.strerror}", file=sys.stderr)
        return 1
    print("The local cluster is gone; bin/ and the virtual environments stay.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
