    // What stands there stays; in JupyterLab and Notebook a button runs the notebook anew.
    live.append(...fixed.childNodes);
    if (document.getElementById("jupyter-config-data")) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "start-again";
      button.textContent = "Bring up to date";
      button.dataset.commandlinkerCommand = "notebook:run-all-cells";
      button.dataset.commandlinkerArgs = "{}";
      live.append(button);
    }
