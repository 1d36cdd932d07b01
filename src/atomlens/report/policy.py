"""What a page may do: a content security policy by hashes, and the library of charts that it carries along."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence

from atomlens.report.packing import deflated


def charts_library() -> str:
    """The source of plotly.js out of the installed package, empty where that is not installed."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        return ""
    return str(get_plotlyjs())


def library_block(source: str) -> dict[str, object]:
    """The library as a page carries it: deflated, with the ids of style sheets that it must not add.

    plotly.js brings rules for its maps, under an id that is a digest; where an element of that id is there already it
    adds none, and the page's policy need not allow them.
    """
    return {
        "packed": deflated(source),
        "sheets": sorted(set(re.findall(r'getElementById\("([0-9a-f]{64})"\)', source))),
    }


def content_policy(styles: Sequence[str], scripts: Sequence[str], library: str = "") -> str:
    """A content security policy: browsers themselves refuse every request, and every script and style but these.

    Args:
        styles: the text of each style element.
        scripts: the text of each script element.
        library: the source of the charts library, which a script of the page unpacks and runs. It sets styles of
            single elements, and starts from one empty style element; it needs no evaluation of strings.
    """
    sheets = [*styles, *([""] if library else [])]
    directives = [
        "default-src 'none'",
        "img-src data: blob:" if library else "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        f"style-src {_hashes(sheets)}",  # for browsers that do not know the next two
        f"style-src-elem {_hashes(sheets)}",
        "style-src-attr 'unsafe-inline'" if library else "style-src-attr 'none'",
        f"script-src {_hashes([*scripts, *([library] if library else [])])}",
    ]
    return "; ".join(directives)


def _hashes(texts: Sequence[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
