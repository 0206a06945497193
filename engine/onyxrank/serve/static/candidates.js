// What is ranked: items of the catalogue, or titles of the user's own; and in words, what was.

import { byId, count, counted, el } from "./dom.js";

const STEPS = [50, 100, 200, 500, 1000];
const USUAL = 100;

export class Candidates {
  constructor(changed) {
    this.source = "titles";
    for (const radio of this.#radios()) {
      radio.addEventListener("change", () => {
        this.#choose(radio.value);
        changed({ atOnce: true });
      });
    }
    for (const id of ["within", "titles"]) byId(id).addEventListener("input", () => changed());
    byId("most").addEventListener("change", () => changed({ atOnce: true }));
    for (const id of ["within", "titles", "most"]) byId(id).addEventListener("input", () => this.#tell());
  }

  /** Take over what the server has. */
  open({ catalogue, most_candidates: most }) {
    const steps = STEPS.filter((step) => step < Math.min(most, catalogue));
    const all = Math.min(most, catalogue);
    const last = all === catalogue ? `all ${counted(all, "item")}` : counted(all, "item");
    byId("most").replaceChildren(
      ...steps.map((step) => el("option", { value: step, selected: step === USUAL }, counted(step, "item"))),
      el("option", { value: Math.max(1, all), selected: all <= USUAL }, last),
    );
    const [fromCatalogue] = this.#radios();
    fromCatalogue.disabled = catalogue === 0;
    byId("no-catalogue").hidden = catalogue > 0;
    byId("candidates").open = catalogue === 0;
    this.#choose(catalogue > 0 ? "catalogue" : "titles");
  }

  /** Titles of the user's own. */
  get titles() {
    return byId("titles").value.split("\n").map((line) => line.trim()).filter(Boolean);
  }

  /** Part of a request; null if there is nothing to rank. */
  get asked() {
    if (this.source === "catalogue") return { within: byId("within").value.trim(), most: Number(byId("most").value) };
    const titles = this.titles;
    return titles.length > 0 ? { titles } : null;
  }

  /** Which items were ranked, and how they were picked where that is not all. */
  explain({ picked, results }, asked) {
    const within = this.source === "catalogue" && asked.within ? " whose titles have these words" : "";
    if (picked.from === "titles") return "";
    if (results.length === picked.matching) return `All ${counted(picked.matching, "item")}${within} are ranked.`;
    const some = `${count(results.length)} of ${counted(picked.matching, "item")}${within} are ranked: `;
    const what = asked.query === undefined ? "history" : "query";
    if (picked.related === 0) return `${some}a random sample, the same every time.`;
    const rest = results.length - picked.related;
    return `${some}${count(picked.related)} that share words with the ${what}, and ${count(rest)} taken at random.`;
  }

  #radios() {
    return document.querySelectorAll("input[name=source]");
  }

  #choose(source) {
    this.source = source;
    for (const radio of this.#radios()) radio.checked = radio.value === source;
    byId("catalogue-part").hidden = source !== "catalogue";
    byId("titles-part").hidden = source !== "titles";
    this.#tell();
  }

  #tell() {
    const most = byId("most").selectedOptions[0]?.textContent ?? "";
    const filter = byId("within").value.trim() ? ", filtered" : "";
    const own = `${counted(this.titles.length, "item")} of my own`;
    byId("candidates-now").textContent = this.source === "catalogue" ? `${most} of the catalogue${filter}` : own;
  }
}
