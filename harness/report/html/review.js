// Keys for a review. Without this script the page has the same forms and buttons.
"use strict";
(() => {
  const cards = [...document.querySelectorAll("#pending .card")];
  const keys = document.querySelector(".keys");
  if (!cards.length) return;
  keys.hidden = false;
  let at = -1;
  const go = (to) => {
    at = Math.min(Math.max(to, 0), cards.length - 1);
    cards[at].focus();
    cards[at].scrollIntoView({ block: "nearest" });
  };
  const typing = (element) => element.matches("input, textarea, select");
  for (const field of document.querySelectorAll(".decide [name=reason]")) {
    field.value = sessionStorage.getItem("reason") || "";
    field.form.addEventListener("submit", () => sessionStorage.setItem("reason", field.value));
  }
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (typing(event.target)) {
      if (event.key === "Escape") event.target.closest(".card").focus();
      return;
    }
    const card = cards[at];
    const form = card && card.querySelector(".decide");
    if (event.key === "j") go(at + 1);
    else if (event.key === "k") go(at - 1);
    else if (event.key === "d" && card) card.querySelector("details").toggleAttribute("open");
    else if (event.key === "a" && card) {
      // A reason is asked for first; Enter in its field accepts.
      if (form.elements.reason.value) form.requestSubmit(form.querySelector("[value=accept]"));
      else form.elements.reason.focus();
    } else if (event.key === "r" && card) form.requestSubmit(form.querySelector("[value=reject]"));
    else return;
    event.preventDefault();
  });
  go(0);
})();
