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
    // Not before somebody looks at it: `r` or a button would send the reason of another case unseen.
    field.addEventListener("focus", () => {
      if (field.value) return;
      field.value = sessionStorage.getItem("reason") || "";
      field.select();
    });
    field.form.addEventListener("submit", () => field.value && sessionStorage.setItem("reason", field.value));
  }
  addEventListener("keydown", (event) => {
    // A key that is held down would decide the card that the next page has in this place; j and k may go on.
    if (event.ctrlKey || event.metaKey || event.altKey || (event.repeat && !"jk".includes(event.key))) return;
    if (typing(event.target)) {
      if (event.key === "Escape") event.target.closest(".card").focus();
      return;
    }
    // The card that has the focus, which Tab, a click or Escape gave it too: what nobody looks at is not decided.
    const card = event.target.closest(".card");
    if (card) at = cards.indexOf(card);
    const form = card && card.querySelector(".decide");
    if (event.key === "j") go(at + 1);
    else if (event.key === "k") go(at - 1);
    else if (event.key === "d" && card) card.querySelector("details").toggleAttribute("open");
    else if (event.key === "a" && card) {
      // Enter in its field accepts. What stands there may be the reason of another case, so it is to be seen first.
      form.elements.reason.focus();
      form.elements.reason.select();
    } else if (event.key === "r" && card) form.requestSubmit(form.querySelector("[value=reject]"));
    else return;
    event.preventDefault();
  });
  go(0);
})();
