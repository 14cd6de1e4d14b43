"use strict";
(() => {
  const cases = [...document.querySelectorAll(".case")];
  const verdicts = cases.map((one) => one.querySelector(".badge").textContent);
  const texts = cases.map((one, i) => `${verdicts[i]} ${one.querySelector(".id").textContent}`.toLowerCase());
  const box = document.getElementById("filter");
  const found = document.getElementById("found");

  // A part of the verdict or the name, or `is:new` for the verdict alone: an id may hold the word of a verdict.
  const holds = (i, word) => (word.startsWith("is:") ? verdicts[i].startsWith(word.slice(3)) : texts[i].includes(word));

  const apply = () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    cases.forEach((one, i) => {
      const fits = words.every((word) => holds(i, word));
      one.hidden = !fits;
      shown += fits;
    });
    found.textContent = words.length ? `${shown} of ${cases.length}` : "";
  };

  const open = () => {
    const name = decodeURIComponent(location.hash.slice(1));
    const target = name && document.getElementById(name);
    if (!target || !target.classList.contains("case")) return;
    if (target.hidden) {
      box.value = "";
      apply();
    }
    target.open = true;
    target.scrollIntoView();
  };

  box.closest(".filter").hidden = false;
  box.addEventListener("input", apply);
  for (const chip of document.querySelectorAll("[data-filter]")) {
    chip.addEventListener("click", () => {
      box.value = `is:${chip.dataset.filter}`;
      apply();
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.("input, textarea, select")) return;
    event.preventDefault();
    box.focus();
    box.select();
  });
  const button = document.getElementById("theme");
  button.hidden = false;
  button.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("#why details")) one.open = true;
  });
  document.addEventListener("click", (event) => {
    // Where the page is at that case already, its link changes no hash.
    const link = event.target.closest?.('a[href^="#case-"]');
    if (link && link.getAttribute("href") === location.hash) open();
  });
  addEventListener("hashchange", open);
  open();
})();
