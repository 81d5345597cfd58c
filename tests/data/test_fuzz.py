"""Damaged files of every kind: each gives one clear line or reads fine, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.fuzz_cases import PROOF

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def results(folder):
    """One row for each file. A process of its own, since a damaged file might crash HDF5."""
    said = subprocess.run(
        [sys.executable, "-m", "tests.data.fuzz", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    rows = [json.loads(line) for line in said.stdout.splitlines() if line.startswith("{")]
    assert said.returncode == 0, f"{rows[-1:]}\n{said.stderr[-2000:]}"
    return rows


def test_each_file_is_refused_in_one_line_or_reads_fine(results):
    defects = [
        (row["name"], line)
        for row in results
        for line in row["outcomes"]
        if line.startswith("DEFECT")
    ]
    refused = sum(any(line != "fine" for line in row["outcomes"]) for row in results)
    print(f"{len(results)} damaged files, {refused} refused, {len(defects)} failures")
    assert defects == []
    assert len(results) >= 200


def test_no_file_takes_more_memory_than_its_size_warrants(results):
    # Deflate, which HDF5 uses, packs up to a thousandfold; everything else is far below that.
    greedy = [
        (row["name"], row["size"], row["memory"])
        for row in results
        if row["memory"] > 1100 * row["size"] + 2**25
    ]
    assert greedy == []


def test_no_file_ran_code(results, folder):
    assert not (folder / PROOF).exists()
    assert results


def test_no_file_leads_to_another(results):
    leading = [
        row
        for row in results
        if row["name"].startswith(("external-", "stored-outside-", "virtual", "elsewhere-data"))
    ]
    assert len(leading) >= 25
    for row in leading:
        assert row["outcomes"][0] != "fine", row


@pytest.mark.parametrize("name", ["bomb.zip", "bomb.npz", "claim.npz", "many-rows.parquet"])
def test_claims_are_refused(results, name):
    (row,) = [row for row in results if row["name"] == name]
    assert all(line != "fine" for line in row["outcomes"])
