"""Every command and every piece of Python in README.md and docs/ runs as printed.

The blocks of one page run in order in a folder of their own. An HTML comment right before a block
says what is different about it: `<!-- slow -->` runs it under the mark `slow` only, and
`<!-- not run -->` never.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from robopref.cli.main import COMMANDS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>slow|not run) -->\n)?^```(?P<language>bash|python)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\]\((?!https?://)([^)#\s]+)(?:#([^)\s]+))?\)")


class Block(NamedTuple):
    language: str
    mark: str
    text: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    content = page.read_text(encoding="utf-8")
    return [
        Block(
            found["language"],
            found["mark"] or "",
            found["text"],
            content[: found.start("text")].count("\n") + 1,
        )
        for found in BLOCK.finditer(content)
        if found["mark"] != "not run"
    ]


def runs() -> list[object]:
    """Each page with its quick blocks, and once more, marked slow, with all of them."""
    cases: list[object] = []
    for page in PAGES:
        blocks = blocks_of(page)
        quick = [block for block in blocks if not block.mark]
        for chosen, marks in ((quick, []), (blocks, [pytest.mark.slow])):
            if chosen and (chosen is quick or len(quick) < len(blocks)):
                if any(re.search("metaworld/|robosuite/", block.text) for block in chosen):
                    marks.append(pytest.mark.sim)
                name = f"{page.name}-{'slow' if chosen is blocks else 'quick'}"
                cases.append(pytest.param(page, chosen, marks=marks, id=name))
    return cases


@pytest.mark.parametrize(("page", "blocks"), runs())
def test_every_block_runs(page, blocks, tmp_path):
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    for block in blocks:
        program = ["bash", "-euo", "pipefail", "-c"]
        if block.language == "python":
            program = [sys.executable, "-c"]
        done = subprocess.run(
            [*program, block.text],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{page}:{block.line}\n{done.stdout[-2000:]}{done.stderr}"


def anchors(page: Path) -> set[str]:
    """What a link can name after `#`, as GitHub makes it from headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        path = (page.parent / target).resolve()
        assert path.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(path), f"{page.name} links to {target}#{anchor}"


def test_the_map_leads_to_every_page():
    index = ROOT / "docs" / "index.md"
    linked = {target for target, _ in LINK.findall(index.read_text(encoding="utf-8"))}
    assert {page.name for page in index.parent.glob("*.md")} - {"index.md"} <= linked


def test_every_command_is_described():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert all(re.search(rf"robopref {command}[ `]", text) for command in COMMANDS)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    for page in (ROOT / "docs").glob("*.md"):
        folder = tmp_path if page.stem == "index" else tmp_path / page.stem
        text = (folder / "index.html").read_text(encoding="utf-8")
        for source in re.findall(r'<img[^>]*src="([^"]+)"', text):
            assert source.startswith("data:") or (folder / source).is_file(), source
    assert "Plackett" in (tmp_path / "reference" / "index.html").read_text(encoding="utf-8")
