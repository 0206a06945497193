// Puts the page together: what is asked changes, the ranking follows.

import { ask, hasKey, useKey } from "./api.js";
import { Candidates } from "./candidates.js";
import { Combobox } from "./combobox.js";
import { announce, byId, counted, el, ms } from "./dom.js";
import { History } from "./history.js";
import { Live } from "./live.js";
import { RankedList } from "./ranking.js";
import { showTime } from "./time.js";

let mode = "history";
let opened = false;

const live = new Live(rank, showProblem);
const changed = (how) => {
  showExamples();
  live.changed(how);
};
const candidates = new Candidates(changed);
const history = new History({ list: byId("history"), clear: byId("clear"), field: byId("add") }, () => {
  hits.mark();
  changed({ atOnce: true });
});
const hits = new RankedList({ list: byId("hits"), more: byId("more") }, (item) => history.toggle(item));
const combobox = new Combobox(
  { field: byId("add"), popup: byId("add-popup"), list: byId("add-options"), note: byId("add-count") },
  { choose: (event) => history.add(event), removeLast: () => history.removeLast(), failed: showProblem },
);

for (const radio of document.querySelectorAll("input[name=mode]")) {
  radio.addEventListener("change", () => {
    choose(radio.value);
    changed({ atOnce: true });
  });
}
byId("query").addEventListener("input", () => changed());
byId("query").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.isComposing) changed({ atOnce: true });
});
byId("problem").querySelector("button").addEventListener("click", () => start());
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(byId("key").value.trim());
  byId("key").value = "";
  start();
});
start();

/** Learn what the server has, once; then rank. */
async function start() {
  if (!opened) {
    try {
      open(await ask("page/facts"));
      opened = true;
    } catch (failure) {
      showProblem(failure);
      return;
    }
  }
  const locked = byId("work").hidden;
  byId("key-form").hidden = true;
  byId("work").hidden = false;
  if (locked) (mode === "query" ? byId("query") : byId("add")).focus();
  changed({ atOnce: true });
}

function open(facts) {
  const { model, architecture, variant, provider, threads, catalogue, examples } = facts;
  const parts = [model, architecture, variant, `${provider}, ${counted(Number(threads), "thread")}`];
  byId("model").replaceChildren(...parts.map((part) => el("span", {}, String(part))));
  combobox.catalogue = catalogue > 0;
  byId("add").placeholder = catalogue > 0 ? `Find one of ${counted(catalogue, "item")}` : "Type a title";
  byId("examples").querySelector("ul").replaceChildren(
    ...examples.map((example) => {
      const use = () => {
        if (mode === "history") history.add(example);
        else byId("query").value = example.title;
        changed({ atOnce: true });
        (mode === "history" ? byId("add") : byId("query")).focus({ preventScroll: true });
      };
      return el("li", {}, el("button", { type: "button", class: "example", onclick: use }, example.title));
    }),
  );
  candidates.open(facts);
  choose(catalogue > 0 ? "history" : "query");
}

function choose(value) {
  mode = value;
  for (const radio of document.querySelectorAll("input[name=mode]")) radio.checked = radio.value === mode;
  byId("query-part").hidden = mode !== "query";
  byId("history-part").hidden = mode !== "history";
}

const query = () => byId("query").value.trim();

function showExamples() {
  const started = mode === "history" ? history.events.length > 0 : query() !== "";
  byId("examples").hidden = started || byId("examples").querySelector("li") === null;
}

/** Ask for the ranking of what is on the page now, and show it. */
async function rank(signal) {
  const items = candidates.asked;
  byId("problem").hidden = true;
  if (items === null) return showEmpty("Paste the items to rank under “What is ranked”, one title a line.");
  if (mode === "query" && query() === "") return showEmpty("Type what the shopper searches for.");
  const asked = mode === "query" ? { query: query(), ...items } : { history: history.asked, ...items };
  showBusy(true);
  try {
    const began = performance.now();
    const answer = await ask("page/rank", { body: asked, signal });
    showRanking(answer, asked);
    const seen = performance.now() - began;
    showTime({ seen, engine: answer.engine_ms, stages: answer.stages_ms, items: answer.results.length });
    if (answer.results.length === 0) return undefined;
    const took = `${counted(answer.results.length, "item")} ranked in ${ms(seen)} ms`;
    byId("summary").textContent = took;
    announce(`${took}; first: ${answer.results[0].title}`);
  } finally {
    if (!signal.aborted) showBusy(false);
  }
  return undefined;
}

function showRanking(answer, asked) {
  if (answer.results.length === 0) {
    showEmpty("No title in the catalogue has these words. Change the filter under “What is ranked”.");
    return;
  }
  byId("empty").hidden = true;
  hits.show(rowsOf(answer.results, asked), mode === "history" ? (item) => history.has(item) : null);
  const { history: left, titles, descriptions } = answer.truncated;
  const cut = [titles && counted(titles, "title"), descriptions && counted(descriptions, "description")];
  const parts = cut.filter(Boolean).join(" and ");
  const notes = [
    answer.cold_start && "No history yet: this is how the model ranks for a shopper it knows nothing about.",
    candidates.explain(answer, asked),
    left > 0 && `The model reads no longer history: the oldest ${counted(left, "entry", "entries")} did not count.`,
    parts && `The model did not read ${parts} to the end.`,
  ].filter(Boolean);
  byId("note").textContent = notes.join(" ");
  byId("note").hidden = notes.length === 0;
}

/** Rows with an `id` that stays the same from one ranking to the next, also of own titles whose lines moved. */
function rowsOf(results, { titles }) {
  if (!titles) return results.map((result) => ({ ...result, id: `item ${result.key}` }));
  const seen = new Map();
  const ids = titles.map((title) => {
    seen.set(title, (seen.get(title) ?? 0) + 1);
    return `title ${seen.get(title)} ${title}`;
  });
  return results.map((result) => ({ ...result, id: ids[result.key], title: titles[result.key], key: null }));
}

function showBusy(busy) {
  byId("progress").classList.toggle("on", busy);
  byId("hits").setAttribute("aria-busy", busy);
}

function showEmpty(text) {
  hits.show([], null);
  byId("empty").textContent = text;
  byId("empty").hidden = false;
  byId("note").hidden = true;
  byId("summary").textContent = "";
}

function showProblem(failure, retryInS = null) {
  if (failure.kind === "unauthorized") {
    askForKey();
    return;
  }
  if (!failure.kind) console.error(failure);
  const text = failure.kind ? failure.message : "The page met an error of its own. Reload it, please.";
  const again = retryInS === null ? "" : ` Trying again in ${counted(retryInS, "second")}.`;
  const before = hits.results.length > 0 ? " Below is the ranking from before." : "";
  byId("problem").querySelector("p").textContent = text + again + before;
  byId("problem").hidden = false;
  byId("empty").hidden = true;
}

function askForKey() {
  live.stop();
  byId("work").hidden = true;
  byId("key-form").hidden = false;
  byId("key-problem").textContent = hasKey() ? "This key does not open the server." : "";
  byId("key").focus();
}
