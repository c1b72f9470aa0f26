"""What a machine lacks is named in one sentence that says what to do."""

import os
import shutil
from pathlib import Path

import pytest
import steps
import system


def programs(monkeypatch: pytest.MonkeyPatch, directory: Path, **scripts: str) -> None:
    """Let only these programs be found, each a shell script with the given body."""
    for name, body in scripts.items():
        path = directory / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.setattr(system, "ADMIN_PATH", str(directory))


def test_a_machine_without_go_is_told_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, tmp_path)
    with pytest.raises(steps.StepFailed, match=r"Go 1\.26 or newer is needed: install it from https://go\.dev/dl"):
        system.check_machine()


def test_an_old_go_is_named_with_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, tmp_path, go="echo go1.21.4")
    with pytest.raises(steps.StepFailed, match=r"this is go1\.21\.4"):
        system.check_machine()


def test_a_newer_go_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, tmp_path, go="echo go1.27.0")
    system.check_machine()


def test_a_missing_nft_means_the_package_nftables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, tmp_path)
    assert "nftables" in system.missing_packages()
    programs(monkeypatch, tmp_path, nft="true")
    assert "nftables" not in system.missing_packages()


def test_a_distribution_without_apt_is_told_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, tmp_path)
    with pytest.raises(steps.StepFailed, match="nftables is missing: install it with `sudo apt-get install nftables`"):
        system.install_packages(["nftables"])


def test_a_user_without_rights_is_told_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, tmp_path, apt_get="exit 1")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert shutil.which("sudo") is None
    with pytest.raises(steps.StepFailed, match="nftables, ca-certificates are missing: install them with"):
        system.install_packages(["nftables", "ca-certificates"])


def test_root_installs_the_packages_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, tmp_path, apt_get=f'echo "$@" >> {tmp_path}/calls')
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(steps, "LOGS", tmp_path / "logs")
    system.install_packages(["nftables"])
    assert (tmp_path / "calls").read_text() == "update\ninstall -y --no-install-recommends nftables\n"
