"""Checks a folder of HTML: every link within it leads somewhere, and no page loads anything from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser fetches by itself; of <link>, what it fetches for the page.
_LOADING = {"img": "src", "script": "src", "audio": "src", "source": "src", "iframe": "src", "video": "src"}
_FETCHED = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "preconnect", "dns-prefetch", "manifest"}


class _Reader(HTMLParser):
    """Collects a page's ids, its links, and what it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what one tag names or points to."""
        found = {name: value or "" for name, value in attrs}
        self.ids |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag in _LOADING and _LOADING[tag] in found:
            self.loaded.append(found[_LOADING[tag]])
        elif tag == "link" and set(found.get("rel", "").split()) & _FETCHED:
            self.loaded.append(found.get("href", ""))


def broken_links(folder: Path) -> Iterator[str]:
    """Yield a sentence for each link that leads nowhere within ``folder``, and for each thing loaded from outside it.

    Links to other sites are not followed.
    """
    found = [path for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts]  # there: theme's templates
    pages = {path.resolve(): _read(path) for path in found}
    for path, page in pages.items():
        name = path.relative_to(folder.resolve()).as_posix()
        for target in dict.fromkeys(page.loaded):
            if urlsplit(target).scheme in ("http", "https") or target.startswith("//"):
                yield f"{name} loads {target} from elsewhere"
            elif fault := _fault(target, path, pages):
                yield f"{name} loads {target}, which {fault}"
        for target in dict.fromkeys(page.links):
            if fault := _fault(target, path, pages):
                yield f"{name} links to {target}, which {fault}"


def _fault(target: str, page: Path, pages: dict[Path, _Reader]) -> str | None:
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return None
    path = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not path.exists():
        return "is not there"
    if parts.fragment and path in pages and unquote(parts.fragment) not in pages[path].ids:
        return "names a place that the page does not have"
    return None


def _read(path: Path) -> _Reader:
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader
