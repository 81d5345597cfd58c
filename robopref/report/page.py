"""Reports as one HTML file, from the templates beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from robopref.files import atomic_path


def write_page(path: Path, template: str, **values: Any) -> None:
    """Writes a page.

    Args:
        path: the HTML file.
        template: name of a file in `templates`.
        **values: what it shows; text is escaped.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("robopref.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template).render(**values)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
