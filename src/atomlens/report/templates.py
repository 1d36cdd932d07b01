"""Templates, style and scripts of the pages."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from atomlens.report.panel_content import formulae


def page_environment() -> Environment:
    """What renders the pages: everything is escaped, and an unknown name is an error."""
    environment = Environment(
        loader=PackageLoader("atomlens", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["formulae"] = formulae
    return environment


def source(environment: Environment, name: str) -> str:
    """A file of the package as text; it is inlined unchanged, for its hash stands in the page's policy."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
