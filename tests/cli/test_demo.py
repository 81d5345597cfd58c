"""`robopref demo` from end to end, very small, in Meta-World."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from robopref.cli import main as cli
from robopref.data.robomimic import load_dataset
from robopref.preferences.dataset import check_dataset, load_preferences
from robopref.report.demo import ARMS

pytestmark = pytest.mark.sim

TINY = (
    "demo", "size=quick", "name=tiny", "workers=1", "episodes=6", "horizon=20", "pairs=15",
    "segment_length=10", "segments=20",
    "reward.epochs=1", "training.updates=20", "training.log_every=10",
    "training.checkpoint_every=10", "evaluation.every=10", "evaluation.episodes=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a demo that has run."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.main(TINY) == 0
    return folder / "runs" / "demo" / "tiny"


def test_metrics_have_the_promised_figures(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    assert 0 <= metrics["transfer"]["label_accuracy"] <= 1
    assert set(metrics["policy"]) == {"pearl", "true_labels", "zero_reward", "plain_gw"}
    for figures in metrics["policy"].values():
        low, high = figures["success_iqm_low"], figures["success_iqm_high"]
        assert 0 <= low <= figures["success_iqm"] <= high <= 1
    assert metrics["seconds_after_install"] > 0
    assert 100 < metrics["peak_rss_mb"] < 4096


def test_no_label_of_the_target_reaches_the_transferred_ones(finished):
    target = load_dataset(finished / "target.hdf5")
    transferred = load_preferences(finished / "preferences" / "pearl.parquet")
    check_dataset(transferred, target)
    assert set(transferred.source) == {"transferred"}
    assert set(load_preferences(finished / "preferences" / "true_labels.parquet").source) == {
        "scripted"
    }


def test_every_arm_has_its_run(finished):
    for arm in ARMS:
        run = finished / arm / "seed-0"
        assert (run / "evaluation.json").is_file()
        assert (run / "policy" / "weights.safetensors").is_file()
        assert (run / "reward").exists() == (arm != "zero_reward")


def test_the_report_is_one_file(finished):
    page = (finished / "report.html").read_text()
    assert "A robot learns Drawer Open" in page
    assert page.count("<svg") == 4
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # nothing is fetched
    if "No videos" in page:
        assert "rendering needs an OpenGL library" in page
    else:
        assert page.count('src="data:video/mp4;base64,') == len(ARMS) + 2
    assert not re.search(r"nan\b|\{\{|\}\}", page.replace("data:", ""))


@pytest.mark.slow
def test_a_broken_off_demo_is_finished_by_resume(finished, monkeypatch, tmp_path):
    import shutil

    monkeypatch.chdir(finished.parents[2])
    copy = finished.parent / "broken"
    shutil.copytree(finished, copy)
    weights = (copy / "pearl" / "seed-0" / "policy" / "weights.safetensors").read_bytes()
    kept = (copy / "plain_gw" / "seed-0" / "policy" / "weights.safetensors").stat().st_mtime_ns
    for name in ("evaluation.json", "policy"):  # as if killed in the last evaluation
        path = copy / "pearl" / "seed-0" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (copy / "report.html").unlink()
    assert cli.main(["demo", "resume=runs/demo/broken"]) == 0
    again = (copy / "pearl" / "seed-0" / "policy" / "weights.safetensors").read_bytes()
    assert again == weights
    assert (copy / "plain_gw/seed-0/policy/weights.safetensors").stat().st_mtime_ns == kept
    assert (copy / "report.html").is_file()
    assert not list(copy.rglob(".*"))


@pytest.mark.slow
def test_without_opengl_the_report_has_no_videos(finished, monkeypatch):
    from robopref.errors import InputError

    def broken(*arguments: object) -> None:
        raise InputError("rendering needs an OpenGL library and none was found")

    monkeypatch.setattr("robopref.report.demo.replay", broken)
    monkeypatch.chdir(finished.parents[2])
    assert cli.main(["demo", f"resume={finished.relative_to(finished.parents[2])}"]) == 0
    page = (finished / "report.html").read_text()
    assert "No videos: rendering needs an OpenGL library" in page
    assert "<video" not in page
