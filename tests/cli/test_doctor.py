"""What is wrong with a machine is said in one line each, with what mends it."""

from __future__ import annotations

import sys
from importlib import metadata
from types import SimpleNamespace

import pytest

from robopref.cli import doctor
from robopref.cli import main as cli
from robopref.cli.doctor import Finding


@pytest.fixture
def no_simulators(monkeypatch):
    """Simulators take seconds; they are tested by themselves."""
    stub = SimpleNamespace(findings=lambda: [("ok", "rendering", "egl", "")])
    monkeypatch.setitem(sys.modules, "robopref_envs.doctor", stub)


def test_a_sound_machine_gives_no_problem(no_simulators, capsys):
    assert cli.main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    subjects = {line.split()[1] for line in lines if not line.startswith(" ")}
    assert subjects == {"packages", "devices", "threads", "disk", "rendering"}
    assert not any(line.startswith("problem") for line in lines)


def test_options_are_refused(capsys):
    assert cli.main(["doctor", "all"]) == 2
    assert "doctor all: takes no options" in capsys.readouterr().err


def test_a_wrong_and_a_missing_package_are_named(no_simulators, monkeypatch, capsys):
    def version(name: str) -> str:
        if name == "h5py":
            raise metadata.PackageNotFoundError(name)
        return "26.0.1" if name == "pyarrow" else known(name)

    known = metadata.version
    monkeypatch.setattr(doctor.metadata, "version", version)
    assert cli.main(["doctor"]) == 2
    said = capsys.readouterr()
    assert "pyarrow 26.0.1 is installed, robopref needs <26,>=15" in said.out
    assert "mend: pip install 'pyarrow<26,>=15'" in said.out
    assert "h5py is missing" in said.out
    assert said.err == "robopref: doctor: 2 problem(s); the commands above mend them\n"


def test_threads_on_top_of_processes_are_a_note(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    finding = next(doctor._threads())
    assert (finding.state, finding.mend) == ("note", "export OMP_NUM_THREADS=1")


def test_a_full_disk_is_a_problem(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=1e9))
    findings = list(doctor._disk())
    assert [finding.state for finding in findings] == ["problem", "problem"]
    assert "1.0 GB free" in findings[0].text


@pytest.mark.parametrize("lists_a_gpu, state", [(True, "problem"), (False, "ok")])
def test_a_gpu_that_torch_cannot_use_is_a_problem(monkeypatch, lists_a_gpu, state):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(doctor, "_has_nvidia", lambda: lists_a_gpu)
    assert next(doctor._devices()).state == state


@pytest.mark.sim
def test_rendering_is_tried(monkeypatch):
    from robopref_envs import doctor as simulators

    findings = [Finding(*values) for values in simulators.findings()]
    rendering = findings[-1]
    assert rendering.subject == "rendering"
    if rendering.state == "ok":
        assert "ms a picture of 84 x 84" in rendering.text
    else:
        assert rendering.mend.startswith(("apt-get install", "export MUJOCO_GL="))


@pytest.mark.parametrize(
    "working, mend",
    [({"osmesa"}, "export MUJOCO_GL=osmesa"), (set(), "apt-get install libegl1 libgl1-mesa-dri")],
)
def test_a_backend_that_fails_is_replaced_by_one_that_works(monkeypatch, working, mend):
    from robopref_envs import doctor as simulators

    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setattr(simulators, "_try", lambda name: 0.01 if name in working else "no library")
    (finding,) = simulators._rendering(needed=True)
    assert Finding(*finding) == Finding(
        "problem", "rendering", "MUJOCO_GL=egl takes no pictures (no library)", mend
    )
