"""Open a notebook in JupyterLab, at one of its sections: in a server that runs already, or in a new one."""

from __future__ import annotations

import os
import subprocess
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

# JupyterLab drops the cell that an address names when a page is first opened; this extension goes there.
EXTENSIONS = Path(__file__).parent / "labextension"


def open_in_lab(notebook: Path, *, cell_id: str = "", browser: bool = True, options: Sequence[str] = ()) -> int:
    """Show a notebook in JupyterLab.

    If a server already serves a folder that holds the notebook, and no ``options`` ask for another, the page is opened
    there; else a server is started, which runs until it is stopped (Ctrl-C).

    Args:
        notebook: The file, inside the learner's folder.
        cell_id: The cell to scroll to.
        browser: Whether to open a browser; the address is printed either way.
        options: Further options for ``jupyter lab``.

    Returns:
        The server's exit code, 0 if one was running already.
    """
    running = None if options else _running_server(notebook)
    if running is not None:
        url, folder, token = running
        address = url.rstrip("/") + lab_address(notebook, folder, cell_id=cell_id, token=token)
        print(f"JupyterLab is running already: {address}")
        if browser:
            webbrowser.open(address)
        return 0
    folder = notebook.parent.parent
    command = [
        *(sys.executable, "-m", "jupyterlab", "-y"),  # -y: one Ctrl-C stops it, without a question
        f"--ServerApp.root_dir={folder}",
        f"--LabApp.extra_labextensions_path={EXTENSIONS}",
        f"--LabApp.default_url={lab_address(notebook, folder, cell_id=cell_id)}",
        *([] if browser else ["--no-browser"]),
        *(["--allow-root"] if getattr(os, "geteuid", lambda: 1)() == 0 else []),
        *options,
    ]
    process = subprocess.Popen(command)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # the server got it too, and is closing its kernels


def lab_address(notebook: Path, folder: Path, *, cell_id: str = "", token: str = "") -> str:
    """Return the path of a notebook's page on a server for ``folder``, scrolled to one cell if named.

    Example:
        >>> lab_address(Path("/course/my/07_a b.ipynb"), Path("/course"), cell_id="c1")
        '/lab/tree/my/07_a%20b.ipynb#cell-id=c1'
    """
    path = quote(notebook.relative_to(folder).as_posix())
    query = "?" + urlencode({"token": token}) if token else ""
    return f"/lab/tree/{path}{query}{f'#cell-id={cell_id}' if cell_id else ''}"


def _running_server(notebook: Path) -> tuple[str, Path, str] | None:
    """Return address, folder and token of a running server that can show the notebook."""
    from jupyter_server.serverapp import list_running_servers

    for server in list_running_servers():
        folder = Path(server["root_dir"]).resolve()
        if notebook.resolve().is_relative_to(folder):
            return server["url"], folder, server["token"]
    return None
