"""What the site needs besides the pages, which are also read in the repository: its pictures."""

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ASSETS = Path(__file__).parent.parent / "assets"
PICTURES = (".png", ".svg", ".gif")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pictures that lie beside docs/."""
    for path in sorted(ASSETS.glob("*")):
        if path.suffix in PICTURES:
            files.append(File.generated(config, f"assets/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Points at them where the site has them. Notes to the tests are no part of the page."""
    for before, after in (
        ("](../assets/", "](assets/"), ("<!-- not run -->\n", ""), ("<!-- slow -->\n", "")
    ):  # fmt: skip
        markdown = markdown.replace(before, after)
    return markdown
