    const cards = CARDS;
    const deck = live.querySelector(".flip-container");
    const next = live.querySelector(".next");
    deck.id = "deck" + Math.random().toString(36).slice(2);
    next.id = deck.id + "-next";
    Object.assign(deck.dataset, {
      topics: "[]", knownWidgets: "false", localStorage: "false", keyControl: "false",
      grabFocus: "false", shuffleCards: "false", title: "", subject: "", url: "",
      cards: JSON.stringify(cards),
      frontColors: JSON.stringify(["#0072b2"]),
      backColors: JSON.stringify(["#3d3d3d"]),
      textColors: JSON.stringify(["#ffffff"]),
    });
    createCards(deck.id);
    next.addEventListener("click", () => window.checkFlip(deck.id));
    // The package's own keys would hold the focus: it stops every key, Tab too.
    deck.addEventListener("keydown", (event) => {
      if (event.key === " " || event.key === "Enter") window.flipCard(deck);
      else if (event.key === "ArrowRight") { if (!next.classList.contains("hide")) window.checkFlip(deck.id); }
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    deck.setAttribute("role", "button");
    deck.setAttribute("aria-label", "Flashcard. Enter turns it over, the right arrow shows the next one.");
    const count = live.querySelector(".study-count"), say = live.querySelector("[aria-live]");
    function report() {
      const card = deck.querySelector(".frontcard");
      if (!card || deck.classList.contains("slide")) return;
      const number = Number(card.dataset.seqNum);
      const text = `Card ${number + 1} of ${cards.length}`;
      if (count.textContent !== text) count.textContent = text;
      const label = number === cards.length - 1 ? "From the start" : "Next card";
      if (next.textContent !== label) next.textContent = label;
      const face = card.querySelector(deck.classList.contains("flip") ? ".back" : ".front").textContent;
      if (started && say.textContent !== face) say.textContent = face;
    }
    let started = false;
    report();
    started = true;
    new MutationObserver(report).observe(live, { childList: true, subtree: true, attributes: true, attributeFilter: ["class"] });
