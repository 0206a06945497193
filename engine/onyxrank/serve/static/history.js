// What the shopper did, oldest first: items of the catalogue (`key`, the position there) or texts of the user's own.

import { announce, el, unseen } from "./dom.js";

export class History {
  /** @param {{list: HTMLElement, clear: HTMLElement, field: HTMLElement}} parts; `changed` is told of every change */
  constructor({ list, clear, field }, changed) {
    Object.assign(this, { list, field, changed });
    this.clearButton = clear;
    this.events = [];
    clear.addEventListener("click", () => {
      this.events = [];
      this.#show();
      announce("The history is empty.");
      field.focus();
    });
    list.addEventListener("keydown", (event) => {
      const button = event.target.closest("button");
      if (!button || (event.key !== "Backspace" && event.key !== "Delete")) return;
      event.preventDefault();
      button.click();
    });
  }

  /** As the server takes it. */
  get asked() {
    return this.events.map(({ key, title }) => key ?? title);
  }

  /** Whether it holds the item of a row. */
  has({ key, title }) {
    return this.#find({ key, title }) >= 0;
  }

  add({ key = null, title }) {
    this.events.push({ key, title });
    this.#show();
    announce(`Added to the history: ${title}`);
  }

  toggle(event) {
    const index = this.#find(event);
    if (index < 0) this.add(event);
    else this.remove(index);
  }

  removeLast() {
    if (this.events.length > 0) this.remove(this.events.length - 1);
  }

  remove(index) {
    const [{ title }] = this.events.splice(index, 1);
    this.#show();
    announce(`Removed from the history: ${title}`);
  }

  #find({ key, title }) {
    return this.events.findIndex((event) => (key === null ? event.title === title : event.key === key));
  }

  #show() {
    this.list.replaceChildren(...this.events.map((event, index) => this.#row(event, index)));
    this.clearButton.hidden = this.events.length < 2;
    this.changed();
  }

  #row({ title }, index) {
    const remove = () => {
      this.remove(index);
      // Where a keyboard user goes on: the next event, the one before, or the field.
      const buttons = this.list.querySelectorAll("button");
      (buttons[Math.min(index, buttons.length - 1)] ?? this.field).focus();
    };
    const cross = el("span", { "aria-hidden": "true" }, "×");
    const attributes = { type: "button", class: "remove", onclick: remove };
    const button = el("button", attributes, cross, unseen(`Remove ${title}`));
    return el("li", {}, el("span", { class: "title" }, title), button);
  }
}
