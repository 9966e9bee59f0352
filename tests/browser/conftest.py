"""A real JupyterLab, as ``make lab`` starts it, and a real Chromium that may talk to nothing but this machine."""

import contextlib
import importlib.util
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from course_lib.study.copies import prepare
from course_lib.study.memory.progress import Progress

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (  # Chromium itself looks for updates, and as root it has no sandbox
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PATIENCE = 120.0  # seconds: other tests may run on the same two cores
HERE = re.compile(r"(https?|wss?)://(127\.0\.0\.1|localhost)[:/]|data:|blob:|about:")


class Tab:
    """One tab of the browser with a notebook open in JupyterLab. Cells go by their ids.

    ``left`` holds what the page asked of other machines, ``complaints`` what it wrote to the console as an error.
    """

    def __init__(self, page, address, token, home):
        self.page, self._address, self._token, self._home = page, address, token, home
        self.left, self.complaints = [], []
        page.set_default_timeout(1000 * PATIENCE)
        page.context.route(lambda url: not HERE.match(url), self._refuse)
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _refuse(self, route):
        self.left.append(route.request.url)
        route.abort()

    def open(self, name):
        self.page.goto(f"{self._address}/lab/tree/{name}?token={self._token}")
        self._wait_for_notebook()

    def reload(self):
        self.page.reload()
        self._wait_for_notebook()

    def _wait_for_notebook(self):
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
        self._wait_for_kernel()

    def _wait_for_kernel(self):
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        )

    def run_all(self):
        """Run every cell, and return what was written to stderr or raised."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")  # waits for the last
        return self.page.evaluate(
            """() => window.jupyterapp.shell.currentWidget.content.widgets.filter(c => c.model.type === 'code').flatMap(
                c => c.model.sharedModel.getOutputs().filter(o => o.output_type === 'error' || o.name === 'stderr')
            )"""
        )

    def restart_kernel(self):
        """Restart the kernel without JupyterLab's question whether it is meant."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
        self._wait_for_kernel()

    def cell(self, cell_id):
        """Scroll to a cell, which JupyterLab draws only then, and return it."""
        index = self.page.evaluate(
            """async id => {
                const notebook = window.jupyterapp.shell.currentWidget.content;
                const index = notebook.widgets.findIndex(cell => cell.model.id === id);
                if (index < 0) return index;
                notebook.activeCellIndex = index;
                await notebook.scrollToItem(index, 'start');
                return index;
            }""",
            cell_id,
        )
        assert index >= 0, f"no cell {cell_id}"
        found = self.page.locator(f".jp-Cell[data-windowed-list-index='{index}']")
        found.wait_for()
        return found

    def run(self, cell_id, source=None):
        """Run a cell, after typing ``source`` into it in place of what it says."""
        cell = self.cell(cell_id)
        if source is not None:
            cell.locator(".cm-content").click()
            self.page.keyboard.press("ControlOrMeta+a")
            self.page.keyboard.insert_text(source)
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell')")  # waits for its end
        return self.cell(cell_id)

    def source(self, cell_id):
        return self.page.evaluate(
            """id => window.jupyterapp.shell.currentWidget.content.widgets
                .find(cell => cell.model.id === id).model.sharedModel.getSource()""",
            cell_id,
        )

    def num_cells(self):
        return self.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.widgets.length")

    def save(self):
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")

    def progress(self):
        """Return what the learner's record says now."""
        with Progress.open(self._home / "progress.db") as progress:
            return progress.summary(), progress.events()


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[tuple[str, str, Path]]:
    """Address, token and folder of a server that ``make lab`` would start, with a record and copies of its own."""
    folder = tmp_path_factory.mktemp("classroom")
    spec = importlib.util.spec_from_file_location("lab_for_browser", ROOT / "lab.py")
    lab_py = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lab_py)
    lab_py.quiet_jupyterlab()
    own = {"COURSE_MY": "my", "COURSE_HOME": "home", "IPYTHONDIR": "ipython", "JUPYTER_DATA_DIR": "data"}
    own |= {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_RUNTIME_DIR": "runtime"}
    own |= {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces"}
    environment = os.environ | {name: str(folder / value) for name, value in own.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_MY", environment["COURSE_MY"])
        prepare()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    options = ["--no-browser", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    options += [f"--IdentityProvider.token={token}", "--expose-app-in-browser"]
    command = lab_py.jupyter_command(options, as_root=getattr(os, "geteuid", lambda: 1)() == 0)
    command = [option.replace(f"root_dir={ROOT}", f"root_dir={folder}") for option in command]
    log = folder / "server.log"
    with log.open("w") as said:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT)
    try:
        _wait_for_server(server, f"http://127.0.0.1:{port}/api/status?token={token}", log)
        yield f"http://127.0.0.1:{port}", token, folder
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def _wait_for_server(server, url, log):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if server.poll() is not None:
            pytest.fail(f"JupyterLab stopped:\n{log.read_text()}")
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=2).read()
            return
        time.sleep(0.25)
    pytest.fail(f"JupyterLab did not answer:\n{log.read_text()}")


@pytest.fixture(scope="module")
def browser():
    """Chromium; tests are skipped where there is none."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium here: install it (apt-get install chromium) to test the classroom as people use it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def tab(browser, lab) -> Iterator[Tab]:
    """A tab, not yet at a page, with JupyterLab's address; nothing may have left the machine when it closes."""
    address, token, folder = lab
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, reduced_motion="reduce")
    yield Tab(context.new_page(), address, token, folder / "home")
    context.close()
