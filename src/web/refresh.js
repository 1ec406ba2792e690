// Keeps the page fresh: fetches it again and swaps its body, unless somebody is about to decide or
// is reading something that a swap would take away. Without this script the page still works.
"use strict";
(() => {
  const PERIOD_MS = 2000;
  const STALE_MS = 8000;
  const main = document.getElementById("main");
  const fresh = document.getElementById("fresh");
  if (!main || !main.hasAttribute("data-live")) return;
  let last = Date.now();

  const busy = () =>
    document.hidden ||
    main.querySelector("form:focus-within, form:hover, summary:focus, a:focus, svg.chart:hover") ||
    [...main.querySelectorAll("input")].some((input) => input.value !== "") ||
    String(getSelection()).length > 0;

  const swap = (page) => {
    const next = page.getElementById("main");
    if (!next) return;
    const open = [...main.querySelectorAll("details[open][id]")].map((d) => d.id);
    main.replaceChildren(...next.childNodes);
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    document.title = page.title;
    const words = page.getElementById("fresh");
    if (fresh && words) fresh.replaceChildren(...words.childNodes);
    document.body.classList.remove("stale");
  };

  const refresh = async () => {
    if (!busy()) {
      try {
        const answer = await fetch(location.href, { cache: "no-store" });
        if (!answer.ok) throw new Error(String(answer.status));
        swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
        last = Date.now();
      } catch {
        if (Date.now() - last > STALE_MS && fresh) {
          document.body.classList.add("stale");
          const seconds = Math.round((Date.now() - last) / 1000);
          fresh.textContent = `Rekindle does not answer: this page is ${seconds} s old`;
        }
      }
    }
    setTimeout(refresh, PERIOD_MS);
  };
  setTimeout(refresh, PERIOD_MS);
})();
