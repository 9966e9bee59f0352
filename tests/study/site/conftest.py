"""A small part of the website, built once, and a browser to open it in; what is missing is said, and skipped."""

import importlib.util
import shutil

import pytest

from course_lib.content import course_root
from course_lib.study.site.build import PACKAGES, build_site

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (  # Chromium itself looks for updates, and as root it has no sandbox
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="session")
def html(tmp_path_factory):
    """The folder of a site of notebook 05 and a part of the reference, without a broken link."""
    missing = [name for module, name in PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"the website is not tested: {', '.join(missing)} missing; pip install -e '.[learn,site]'")
    out = tmp_path_factory.mktemp("site")
    site = build_site(course_root(), out, only={"05"}, parts=("losses", "optim"))
    assert site.broken == ()
    return site.index.parent


@pytest.fixture(scope="module")
def browser():
    """Chromium, driven by Playwright, of which a process can run one at a time."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium here: install it (apt-get install chromium) to test the website as people use it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=QUIET)
        yield chromium
        chromium.close()


class Visit:
    """A page opened from its file, in a browser that has never been here; ``trouble`` is all it complained of."""

    def __init__(self, browser, html, **options):
        self.html = html
        self.context = browser.new_context(reduced_motion="reduce", **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.trouble = []
        self.page.on("console", lambda said: said.type in ("error", "warning") and self.trouble.append(said.text))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("request", lambda asked: self._foreign(asked.url) and self.trouble.append(asked.url))

    def open(self, name):
        """Open one page of the site, and wait for its maths."""
        if self.page.url != "about:blank":  # what a page has stored reaches a page in another process a moment later
            self.page.wait_for_timeout(500)
        self.page.goto(f"{self.html.as_uri()}/{name}")
        self.page.evaluate("window.MathJax?.startup?.promise")
        return self.page

    @staticmethod
    def _foreign(url):
        return not url.startswith(("file:", "data:", "blob:"))


@pytest.fixture
def visit(browser, html):
    """Opens pages; afterwards, nothing was complained of and nothing asked of another machine."""
    made = []

    def start(**options):
        made.append(Visit(browser, html, **options))
        return made[-1]

    yield start
    for visit in made:
        visit.context.close()
    assert [trouble for visit in made for trouble in visit.trouble] == []
