"use strict";
/** A page that is served asks for the next payload; one that lies on a disk has nobody to ask. */
page.live = (() => {
  const PAUSE = 2000;
  let have = document.body.dataset.live ?? "";

  /** @param {(payload: Payload) => void} take */
  function start(take) {
    if (!have) return;
    const sign = page.dom.byId("live");
    sign.hidden = false;
    sign.textContent = "live";
    const ask = async () => {
      try {
        const answer = await fetch(`payload.json?have=${encodeURIComponent(have)}`, { cache: "no-store" });
        if (answer.status === 200) {
          const told = await answer.json();
          have = told.version;
          take(told.payload);
          sign.textContent = `live, changed at ${new Date().toLocaleTimeString()}`;
        } else if (answer.status !== 204) throw new Error(answer.statusText);
        else if (sign.classList.contains("away")) sign.textContent = "live";
        sign.classList.remove("away");
      } catch {
        sign.textContent = "scalesearch watch has ended, or is busy; asking again";
        sign.classList.add("away");
      }
      setTimeout(ask, PAUSE);
    };
    setTimeout(ask, PAUSE);
  }

  return { start };
})();
