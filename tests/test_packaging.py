"""The wheel, installed where there is no checkout, does the same work."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", folder, ROOT, cwd=folder)
    return next(folder.glob("robopref-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """`bin` of a fresh environment with the wheel; dependencies are borrowed from this one."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    pip = (folder / "bin/python", "-m", "pip", "install", "--no-deps", "--no-index", wheel)
    run(*pip, cwd=folder)
    return folder / "bin"


def test_the_wheel_holds_both_packages_and_what_they_need(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "robopref/py.typed",
        "robopref/configs/collect.yaml",
        "robopref/configs/mix/scarce.yaml",
        "robopref/assets/README.md",
        "robopref_envs/metaworld.py",
    ):
        assert name in names
    shipped = {str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.yaml")}
    assert {f"robopref/{name}" for name in shipped} <= set(names)
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"robopref", "robopref_envs"}


def test_the_installed_command_works_in_any_folder(installed, tmp_path):
    where = run(
        installed / "python", "-c", "import robopref; print(robopref.__file__)", cwd=tmp_path
    )
    assert Path(where.strip()).is_relative_to(installed.parent)
    assert "collect" in run(installed / "robopref", "--help", cwd=tmp_path)
    options = ("env=toy/point-mass-v0", "mix=expert", "episodes=3", "workers=2")
    run(installed / "robopref", "collect", *options, cwd=tmp_path)
    path = tmp_path / "data" / "toy" / "point-mass-v0-expert.hdf5"
    assert "sound, 3 episodes" in run(
        installed / "robopref", "data", "validate", path, cwd=tmp_path
    )


@pytest.mark.sim
def test_the_installed_command_collects_from_metaworld(installed, tmp_path):
    options = ("env=metaworld/reach-v3", "mix=scarce", "episodes=2", "horizon=20", "workers=1")
    said = run(installed / "robopref", "collect", *options, cwd=tmp_path)
    assert "2 episodes, 40 steps" in said
