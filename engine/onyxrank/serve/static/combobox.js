// Finding an item of the catalogue by typing: the ARIA combobox pattern with a list of its own.
//
// The focus stays in the field; `aria-activedescendant` says which option the arrow keys are at. The first match is
// active at once, so that typing and Enter suffice. Pages of matches are fetched as the user goes down the list.

import { ask } from "./api.js";
import { counted, count, el } from "./dom.js";

const PAUSE_MS = 120;
const PAGE = 20;

export class Combobox {
  /**
   * @param {{field: HTMLInputElement, popup: HTMLElement, list: HTMLElement, note: HTMLElement}} parts
   * @param {{choose: (event: {key: number|null, title: string}) => void, removeLast: () => void,
   *   failed: (error: Error) => void}} told
   */
  constructor(parts, told) {
    Object.assign(this, parts);
    this.told = told;
    this.catalogue = true;
    this.options = [];
    this.total = 0;
    this.active = -1;
    this.current = true; // whether the options are those of the text in the field
    this.chooseFirst = false; // Enter came before the options
    this.field.addEventListener("input", () => this.#typed());
    this.field.addEventListener("keydown", (event) => this.#pressed(event));
    this.field.addEventListener("click", () => this.#open() || this.#find());
    this.field.addEventListener("blur", () => this.close());
    // Before the blur that a press outside the field would cause.
    this.popup.addEventListener("pointerdown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) this.#choose([...this.list.children].indexOf(option));
    });
    this.popup.addEventListener("scroll", () => this.#nearEnd() && this.#more());
  }

  close() {
    this.abort?.abort();
    clearTimeout(this.timer);
    this.popup.hidden = true;
    this.field.setAttribute("aria-expanded", "false");
    this.chooseFirst = false;
    this.#activate(-1);
  }

  #open() {
    return !this.popup.hidden;
  }

  #typed() {
    this.current = false;
    this.chooseFirst = false;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#find(), PAUSE_MS);
  }

  async #find() {
    clearTimeout(this.timer);
    const text = this.field.value.trim();
    const found = await this.#page(text, 0);
    if (found === null) return;
    this.current = true;
    this.total = found.total;
    this.options = found.items;
    if (text) this.options.push({ key: null, title: text });
    this.list.replaceChildren(...this.options.map((option, index) => this.#option(option, index)));
    this.#tellCount(text);
    this.popup.scrollTop = 0;
    if (this.options.length === 0) {
      this.close();
      return;
    }
    this.popup.hidden = false;
    this.field.setAttribute("aria-expanded", "true");
    this.#activate(text ? 0 : -1);
    if (this.chooseFirst && text) this.#choose(0);
  }

  /** A page of matches; null if it is out of date or there is none. */
  async #page(search, offset) {
    this.abort?.abort();
    if (!this.catalogue) return { total: 0, items: [] };
    this.abort = new AbortController();
    try {
      return await ask("page/catalogue", { body: { search, offset, limit: PAGE }, signal: this.abort.signal });
    } catch (error) {
      if (error.name !== "AbortError") this.told.failed(error);
      return null;
    }
  }

  async #more() {
    const own = this.options.at(-1)?.key === null ? [this.options.at(-1)] : [];
    const known = this.options.length - own.length;
    if (known >= this.total || this.loading) return;
    this.loading = true;
    const text = this.field.value.trim();
    const found = await this.#page(text, known);
    this.loading = false;
    if (found === null || !this.#open()) return;
    this.options.splice(known, own.length, ...found.items, ...own);
    const active = this.active;
    this.list.replaceChildren(...this.options.map((option, index) => this.#option(option, index)));
    this.#activate(active);
    this.#tellCount(text);
  }

  #option({ key, title }, index) {
    const content = key === null ? [el("span", { class: "as-typed" }, "Add as typed: "), title] : [title];
    return el("li", { role: "option", id: `add-option-${index}`, "aria-selected": "false" }, ...content);
  }

  #tellCount(text) {
    const shown = this.options.filter((option) => option.key !== null).length;
    this.note.hidden = !this.catalogue;
    this.note.textContent =
      this.total > shown
        ? `${count(shown)} of ${text ? counted(this.total, "match", "matches") : counted(this.total, "item")} listed`
        : this.total === 0
          ? "No item has these words"
          : counted(this.total, "match", "matches");
  }

  #pressed(event) {
    if (event.isComposing || event.altKey || event.ctrlKey || event.metaKey) return;
    const last = this.options.length - 1;
    const moves = {
      ArrowDown: () => (this.#open() ? this.#activate(this.active >= last ? 0 : this.active + 1) : this.#find()),
      ArrowUp: () => (this.#open() ? this.#activate(this.active <= 0 ? last : this.active - 1) : this.#find()),
      Enter: () => this.#entered(),
      Escape: () => (this.#open() ? this.close() : (this.field.value = "")),
    };
    if (event.key === "Backspace" && this.field.value === "") {
      if (!event.repeat) this.told.removeLast(); // a key held down empties the field, not the history
      return;
    }
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    move();
  }

  #entered() {
    if (this.current && this.#open() && this.active >= 0) {
      this.#choose(this.active);
      return;
    }
    this.chooseFirst = true;
    this.#find();
  }

  #activate(index) {
    this.list.children[this.active]?.setAttribute("aria-selected", "false");
    this.active = Math.min(index, this.options.length - 1);
    const option = this.list.children[this.active];
    if (!option) {
      this.active = -1;
      this.field.removeAttribute("aria-activedescendant");
      return;
    }
    option.setAttribute("aria-selected", "true");
    this.field.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
    if (this.active >= this.options.length - 3) this.#more();
  }

  #nearEnd() {
    return this.popup.scrollTop + this.popup.clientHeight > this.popup.scrollHeight - 40;
  }

  #choose(index) {
    const option = this.options[index];
    this.field.value = "";
    this.current = false;
    this.close();
    this.told.choose(option);
  }
}
