"""`make down`: stops the local cluster, removes .local/, and checks that nothing of it is left."""

import re
import shutil
import subprocess
import sys

import leftovers
from steps import REPO

LOCAL = REPO / ".local"
LOCALCLUSTER = REPO / "bin" / "localcluster"


def api_port() -> int | None:
    """Return the port that the cluster's kubeconfig names, if there is one."""
    kubeconfig = LOCAL / "kubeconfig"
    found = re.search(r"server: https://127\.0\.0\.1:(\d+)", kubeconfig.read_text()) if kubeconfig.exists() else None
    return int(found[1]) if found else None


def main() -> int:
    """Return 0 when nothing is left, else 1 with a line for each leftover."""
    roots = [
        process
        for process in leftovers.processes()
        if "localcluster" in process.command.split(" ")[0] and str(LOCAL) in process.command
    ]
    members, port = leftovers.family(roots), api_port()
    if LOCALCLUSTER.exists() and LOCAL.exists():
        stopped = subprocess.run([LOCALCLUSTER, "down", "--dir", LOCAL], check=False)
        if stopped.returncode:
            print(f"bin/localcluster down failed; its state is kept in {LOCAL}", file=sys.stderr)
            return stopped.returncode
    left = [str(process) for process in leftovers.wait_gone(members)]
    left += [f"mount {point}" for point in leftovers.mounts_below(REPO)]
    left += [f"listening port {port}"] if port is not None and leftovers.listens(port) else []
    for line in left:
        print(f"left behind: {line}", file=sys.stderr)
    if left:
        return 1
    shutil.rmtree(LOCAL, ignore_errors=True)
    print("The local cluster is gone; bin/, .venv and .venv-workers stay.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
