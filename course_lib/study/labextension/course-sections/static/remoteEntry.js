// Opens a notebook at the cell that the address names. JupyterLab follows such a fragment within a page that is open,
// but drops it when the page itself is opened: this reads it before that, and follows it when the notebook is there.
"use strict";
(() => {
  const fragment = window.location.hash;
  const wanted = decodeURIComponent(window.location.pathname).split("/tree/")[1];

  function activate(app) {
    if (!fragment.startsWith("#cell-id=") || !wanted) return;
    const shell = app.shell;
    const follow = async () => {
      const panel = shell.currentWidget;
      if (!panel || !panel.context || panel.context.path !== wanted) return;
      shell.currentChanged.disconnect(follow);
      await panel.context.ready;
      await panel.revealed;
      let touched = false;
      for (const event of ["wheel", "keydown", "pointerdown"]) {
        window.addEventListener(event, () => (touched = true), { once: true, capture: true });
      }
      for (const milliseconds of [0, 300, 700, 1500]) {
        // Cells above the wanted one get their real height only once they are drawn: go there again until they have it.
        await new Promise((resolve) => setTimeout(resolve, milliseconds));
        if (!touched) await panel.content.setFragment(fragment);
      }
    };
    shell.currentChanged.connect(follow);
    app.restored.then(follow);
  }

  const plugin = { id: "course-sections:plugin", autoStart: true, activate };
  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB["course-sections"] = {
    init: () => {},
    get: () => Promise.resolve(() => ({ __esModule: true, default: plugin })),
  };
})();
