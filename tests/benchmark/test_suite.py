"""Suites: their cells, going on with them, summaries and the page."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import pandas as pd
import pytest

from robopref.benchmark import policies, rewards
from robopref.benchmark.cell import Cell, DataConfig, short_name
from robopref.benchmark.run import RESULTS_FILE, run_suite, summarise
from robopref.benchmark.suite import (
    PolicyTable,
    RewardTable,
    SuiteConfig,
    TransferTable,
    cells,
)
from robopref.cli.main import main
from robopref.errors import InputError
from robopref.preferences.dataset import load_preferences
from robopref.report.benchmark import write_results_page

TASK = "toy/point-mass-v0"
MIX = {"shares": {"expert": 0.5, "random": 0.5}, "noise": 0.1}


def tiny() -> SuiteConfig:
    """Two tables in a few seconds."""
    return SuiteConfig(
        name="tiny",
        data=DataConfig(episodes=12, horizon=60, mixes={"mixed": MIX, "scarce": MIX}),
        policies=PolicyTable(
            [TASK], ["bradley_terry_iql", "cloning"], [30], seeds=2, updates=20, episodes=2
        ),
        rewards=RewardTable([TASK], ["bradley_terry"], [20], ["clean"], seeds=1),
    )


def ignore(done: int, total: int, left_s: float) -> None:
    """Wants no progress."""


def test_names_of_tasks():
    assert short_name("metaworld/drawer-open-v3") == "drawer-open"
    assert short_name("robosuite/lift") == "lift"


def test_cells_come_seed_by_seed_and_have_names_of_their_own():
    suite = SuiteConfig(
        policies=PolicyTable([TASK, "robosuite/lift"], labels=[20, 40], sources={"lift": TASK}),
        rewards=RewardTable([TASK]),
        transfers=TransferTable([TASK, "robosuite/lift"]),
    )
    found = cells(suite)
    assert len({cell.key for cell in found}) == len(found)
    assert [cell.seed for cell in found] == sorted(cell.seed for cell in found)
    ways = {(cell.task, cell.source, cell.labels) for cell in found if "transferred" in cell.method}
    assert ways == {("robosuite/lift", TASK, 20), ("robosuite/lift", TASK, 40)}
    assert {cell.labels for cell in found if cell.method == "cloning"} == {0}
    assert sum(cell.table == "transfers" for cell in found) == 2 * 4  # ordered pairs and methods


def test_an_unknown_method_is_refused():
    with pytest.raises(InputError, match=r"suite\.policies\.methods: no ppo; choose from oppo"):
        SuiteConfig(policies=PolicyTable(methods=["ppo"]))


def test_a_suite_is_gone_on_with_and_gives_the_same(tmp_path):
    seen = []
    first = run_suite(tiny(), tmp_path, 1, "", lambda *told: seen.append(told))
    assert [done for done, *_ in seen] == [0, 1, 2, 3, 4, 5]
    assert {total for _, total, _ in seen} == {5}
    assert seen[0][2] == 0.0 < seen[1][2]  # nothing is known at first
    assert first.value.between(0.0, 1.0).all()
    assert pd.read_parquet(tmp_path / RESULTS_FILE).equals(first)
    lost = next((tmp_path / "cells").glob("rewards-*"))
    kept = json.loads(lost.read_text())["value"]
    lost.unlink()
    seen.clear()
    again = run_suite(tiny(), tmp_path, 1, "", lambda *told: seen.append(told))
    assert [done for done, *_ in seen] == [4, 5]
    assert json.loads(lost.read_text())["value"] == kept
    assert again.value.tolist() == first.value.tolist()


def results(*rows: tuple[str, int, int, str, float]) -> pd.DataFrame:
    """Rows of policies: method, labels, seed, task, value."""
    return pd.DataFrame([
        asdict(Cell("policies", task, method, labels, seed)) | {"value": value, "seconds": 1.0}
        for method, labels, seed, task, value in rows
    ])  # fmt: skip


def test_a_summary_has_means_and_paired_differences():
    rows = summarise(results(
        ("oppo", 200, 0, "a", 0.9), ("oppo", 200, 0, "b", 0.7),
        ("oppo", 200, 1, "a", 0.7), ("oppo", 200, 1, "b", 0.5),
        ("cloning", 0, 0, "a", 0.3), ("cloning", 0, 0, "b", 0.1),
        ("cloning", 0, 1, "a", 0.1), ("cloning", 0, 1, "b", -0.1),
    ))  # fmt: skip
    oppo, cloning = rows
    assert oppo["value"] == pytest.approx(0.7)
    assert oppo["low"] < 0.7 < oppo["high"]
    assert oppo["per_task"] == {"a": 0.8, "b": 0.6}
    # Always the same difference: its interval is a point.
    assert [oppo[f"over_{name}"] for name in ("value", "low", "high")] == [0.6] * 3
    assert "over_value" not in cloning


def test_carried_labels_are_compared_with_what_needs_none():
    rows = results(("transferred_pearl_iql", 200, 0, "a", 0.9), ("cloning", 0, 0, "a", 0.2))
    rows.loc[0, "source"] = "b"
    assert summarise(rows)[0]["over_value"] == pytest.approx(0.7)


def test_every_pair_of_tasks_is_a_run_of_a_transfer():
    pairs = (("a", "b", 0.9, 0.5), ("a", "c", 0.7, 0.5), ("b", "a", 0.8, 0.3))
    table = pd.DataFrame([
        asdict(Cell("transfers", target, method, 100, source=source))
        | {"value": value, "seconds": 1.0}
        for source, target, *values in pairs
        for method, value in zip(("default", "pearl_paper"), values, strict=True)
    ])  # fmt: skip
    default = summarise(table)[0]
    assert default["value"] == pytest.approx(0.8)
    assert default["low"] < 0.8 < default["high"]
    assert default["over_value"] == pytest.approx(0.3667, abs=1e-4)


def test_a_seed_that_lacks_a_task_is_left_out():
    rows = summarise(results(
        ("oppo", 200, 0, "a", 0.5), ("oppo", 200, 0, "b", 0.7), ("oppo", 200, 1, "a", 0.0),
    ))  # fmt: skip
    assert rows[0]["value"] == pytest.approx(0.6)


def test_the_page_holds_the_rows_and_nothing_foreign(tmp_path):
    rows = summarise(results(("oppo", 200, 0, "</script>", 0.5)))
    facts = {"cells": 1, "hours": 0.1, "machine": "m", "versions": "v"}
    write_results_page(tmp_path / "page.html", "tiny", rows, facts)
    page = (tmp_path / "page.html").read_text()
    found = re.search(r"const rows = (.*);\n", page)
    assert json.loads(found[1]) == rows
    assert page.count("</script>") == 1
    assert "http" not in page


def test_policies_on_every_reward_model_get_the_labels_that_it_needs(tmp_path):
    suite = tiny()
    suite.policies.methods, suite.policies.seeds = ["flip_doubtful_iql", "lists_lambda_iql"], 1
    suite.rewards.methods = []
    table = run_suite(suite, tmp_path, 1, "", ignore)
    assert table.value.between(0.0, 1.0).all()
    kept = {path.stem: load_preferences(path) for path in (tmp_path / "labels").glob("*")}
    assert {name for name, labels in kept.items() if (labels.ranking >= 0).any()} == {
        "point-mass-v0-scarce-lists_lambda_iql-30-0"
    }
    assert len(kept) == 2
    assert {f"{name}_iql" for name in rewards.METHODS} <= set(policies.METHODS)


def test_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = [
        f"suite.policies.tasks=[{TASK}]", "suite.policies.methods=[cloning]",
        "suite.policies.updates=10", "suite.policies.episodes=2", "suite.rewards.methods=[]",
        "suite.transfers.methods=[]", "suite.data.episodes=6", "suite.data.horizon=20",
        "mix@suite.data.mixes.scarce=expert", "workers=1", "name=t",
    ]  # fmt: skip
    assert main(["benchmark", "smoke", *options]) == 0
    assert "Policies             cloning" in capsys.readouterr().out
    folder = tmp_path / "runs" / "benchmark" / "t"
    assert (folder / "results.html").is_file()
    assert len(json.loads((folder / "summary.json").read_text())) == 1
    assert main(["benchmark", "smoke", *options, "suite.policies.updates=20"]) == 2
    assert "is a run with suite.policies.updates=10, not 20" in capsys.readouterr().err
    assert main(["benchmark", "huge"]) == 2
    assert "benchmark huge: no such suite; choose from laptop, paper" in capsys.readouterr().err
