// The ranked items. Rows are kept from one ranking to the next and move to their new places.

import { counted, el, unseen } from "./dom.js";

const STEP = 20;
const MOVE_MS = 450;
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class RankedList {
  /** @param {{list: HTMLElement, more: HTMLElement}} parts; `toggle` is told of an item to add to the history */
  constructor({ list, more }, toggle) {
    Object.assign(this, { list, toggle });
    this.moreButton = more;
    this.rows = new Map();
    this.places = new Map();
    this.results = [];
    this.picked = null;
    this.shown = STEP;
    more.addEventListener("click", () => {
      const first = this.shown;
      this.shown += STEP;
      this.#place(this.places);
      this.list.children[first]?.focus({ preventScroll: true });
    });
  }

  /**
   * Show a ranking.
   *
   * @param {{id: string, key: number|null, title: string, description: string, score: number}[]} results best first
   * @param {(item: object) => boolean} picked whether an item is in the history; null hides the buttons
   */
  show(results, picked) {
    const before = this.places;
    this.results = results;
    this.picked = picked;
    this.places = new Map(results.map(({ id }, index) => [id, index]));
    if (results.length === 0) this.shown = STEP;
    this.#place(before);
  }

  /** Tell the buttons which items are in the history now. */
  mark() {
    this.list.classList.toggle("without-picks", this.picked === null);
    for (const { item, button } of this.rows.values()) {
      button.hidden = this.picked === null;
      button.setAttribute("aria-pressed", this.picked !== null && this.picked(item));
    }
  }

  #place(before) {
    const visible = this.results.slice(0, this.shown);
    const tops = new Map([...this.rows].map(([id, { row }]) => [id, row.getBoundingClientRect().top]));
    const focused = document.activeElement;
    const rows = new Map();
    visible.forEach((item, index) => {
      const parts = this.rows.get(item.id) ?? this.#row();
      fill(parts, item, index, before);
      rows.set(item.id, parts);
    });
    this.rows = rows;
    this.mark();
    this.list.replaceChildren(...[...rows.values()].map(({ row }) => row));
    // A row that is moved in the document loses the focus.
    if (focused !== document.activeElement && this.list.contains(focused)) focused.focus({ preventScroll: true });
    if (!still.matches) this.#move(tops);
    const left = this.results.length - visible.length;
    this.moreButton.hidden = left === 0;
    this.moreButton.textContent = `Show ${Math.min(left, STEP)} more of ${counted(left, "item")}`;
  }

  /** Let rows travel from where they were; new ones fade in. */
  #move(tops) {
    const timing = { duration: MOVE_MS, easing: "cubic-bezier(.2, .7, .2, 1)" };
    const steps = [...this.rows].map(([id, { row }]) => {
      const top = tops.get(id);
      return [row, top === undefined ? null : top - row.getBoundingClientRect().top];
    });
    for (const [row, distance] of steps) {
      const from = distance === null ? { opacity: 0 } : { transform: `translateY(${distance}px)` };
      if (distance !== 0) row.animate([from, {}], timing);
    }
  }

  #row() {
    const parts = {
      place: el("span", { class: "place" }),
      title: el("span", { class: "title" }),
      description: el("span", { class: "description" }),
      moved: el("span", { class: "moved" }),
      fill: el("span", { class: "fill" }),
      score: el("span", { class: "number" }),
      button: el("button", { type: "button", class: "pick", onclick: () => this.toggle(parts.item) }),
    };
    parts.row = el(
      "li",
      { class: "hit", tabindex: "-1" },
      parts.place,
      el("span", { class: "text" }, parts.title, parts.description),
      parts.moved,
      el("span", { class: "score" }, el("span", { class: "bar", "aria-hidden": "true" }, parts.fill), parts.score),
      parts.button,
    );
    return parts;
  }
}

function fill(parts, item, index, before) {
  parts.item = item;
  parts.place.replaceChildren(unseen("Place "), String(index + 1));
  parts.title.textContent = item.title;
  parts.description.textContent = item.description;
  parts.description.hidden = item.description === "";
  parts.score.replaceChildren(unseen("score "), item.score.toFixed(3));
  parts.fill.style.setProperty("--share", item.score);
  parts.button.replaceChildren(unseen(`In the history: ${item.title}`));
  tellMove(parts.moved, before.size === 0 ? 0 : before.has(item.id) ? before.get(item.id) - index : null);
}

/** How far an item rose (above 0) or fell; null if it was not ranked before. */
function tellMove(element, places) {
  element.className = `moved ${places === null ? "new" : places > 0 ? "up" : places < 0 ? "down" : "same"}`;
  if (places === null) element.replaceChildren("new");
  else if (places === 0) element.replaceChildren();
  else {
    const arrow = el("span", { "aria-hidden": "true" }, `${places > 0 ? "▲" : "▼"} ${Math.abs(places)}`);
    element.replaceChildren(arrow, unseen(`${places > 0 ? "up" : "down"} ${counted(Math.abs(places), "place")}`));
  }
}
