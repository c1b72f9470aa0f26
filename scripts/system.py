"""Looks for what the machine must offer, and installs the few Debian packages that are missing."""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from steps import StepFailed, run_logged

GO = (1, 26)
PYTHON = (3, 11)
ADMIN_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def check_machine() -> None:
    """Raise StepFailed with one sentence when something is missing that no package of ours can bring."""
    if platform.system() != "Linux":
        raise StepFailed("ModelService builds on Linux only: the local cluster needs its namespaces.")
    if sys.version_info < PYTHON:
        raise StepFailed(f"Python {PYTHON[0]}.{PYTHON[1]} or newer is needed: name it with `make PYTHON=python3.11`.")
    if shutil.which("go") is None:
        raise StepFailed(
            f"Go {GO[0]}.{GO[1]} or newer is needed: install it from https://go.dev/dl and put it on PATH."
        )
    printed = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"go(\d+)\.(\d+)", printed)
    if found is not None and (int(found[1]), int(found[2])) < GO:
        raise StepFailed(f"Go {GO[0]}.{GO[1]} or newer is needed, this is {printed.strip()}: see https://go.dev/dl.")


def missing_packages() -> list[str]:
    """Return the Debian packages whose programs or files this machine lacks."""
    packages = {
        "nftables": shutil.which("nft", path=ADMIN_PATH) is not None,
        "ca-certificates": any(Path(path).exists() for path in CERTIFICATES),
        f"python{sys.version_info.major}.{sys.version_info.minor}-venv": importlib.util.find_spec("ensurepip")
        is not None,
    }
    return [name for name, present in packages.items() if not present]


def install_packages(packages: list[str]) -> None:
    """Install Debian packages as root or through sudo; raise StepFailed with the command to run by hand."""
    names = " ".join(packages)
    are, them = ("is", "it") if len(packages) == 1 else ("are", "them")
    by_hand = (
        f"{', '.join(packages)} {are} missing: install {them} with `sudo apt-get install {names}`, then run again."
    )
    apt, sudo = shutil.which("apt-get"), shutil.which("sudo")
    if apt is None:
        raise StepFailed(f"{by_hand} (These are Debian's names and command; other distributions have their own.)")
    prefix: list[str] = []
    if os.geteuid() != 0:
        if sudo is None or (not sys.stdin.isatty() and subprocess.run([sudo, "-n", "true"], check=False).returncode):
            raise StepFailed(by_hand)
        prefix = [sudo]
        if sys.stdin.isatty():
            subprocess.run([sudo, "-v"], check=True)
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run_logged([*prefix, apt, "update"], log="apt-update", env=quiet)
    run_logged([*prefix, apt, "install", "-y", "--no-install-recommends", *packages], log="apt-install", env=quiet)
