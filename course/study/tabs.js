    const sections = [...fixed.querySelectorAll(".study-level")];
    const list = document.createElement("div");
    list.className = "study-tabs";
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", "Summary at three levels");
    live.append(list);
    const name = "study" + Math.random().toString(36).slice(2);
    const tabs = [], panels = [];
    sections.forEach((section, index) => {
      const tab = document.createElement("button");
      tab.type = "button";
      tab.textContent = section.dataset.label;
      tab.id = name + "-tab" + index;
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-controls", name + "-panel" + index);
      const panel = document.createElement("div");
      panel.className = "study-panel";
      panel.id = name + "-panel" + index;
      panel.tabIndex = 0;
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", tab.id);
      // Moved, not copied: the links keep what the page has attached to them.
      panel.append(...[...section.childNodes].filter((node) => !node.classList?.contains("study-label")));
      list.append(tab);
      live.append(panel);
      tabs.push(tab);
      panels.push(panel);
      tab.addEventListener("click", () => choose(index));
      tab.addEventListener("keydown", (event) => {
        const to = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: tabs.length - 1 }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        choose((to + tabs.length) % tabs.length);
        tabs[(to + tabs.length) % tabs.length].focus();
      });
    });
    function choose(chosen) {
      tabs.forEach((tab, index) => {
        tab.setAttribute("aria-selected", index === chosen);
        tab.tabIndex = index === chosen ? 0 : -1;
        panels[index].hidden = index !== chosen;
      });
    }
    choose(0);
