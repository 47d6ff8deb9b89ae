"use strict";

/* External data is inserted as text, never as markup. */

const by = (id) => document.getElementById(id);
const form = by("form"), send = by("send"), statusLine = by("status"), result = by("result");
let limits = { max_megabytes: 200 };
let working = false;

function make(name, text, className) {
  const one = document.createElement(name);
  if (text !== undefined && text !== null) one.textContent = String(text);
  if (className) one.className = className;
  return one;
}

/* Rounding must not turn likely into certain. */
function percent(share) {
  if (share > 0.99 && share < 1) return "over 99\u00a0%";
  return share < 0.01 && share > 0 ? "under 1\u00a0%" : `${(100 * share).toFixed(0)}\u00a0%`;
}
const headers = () => (by("token").value ? { Authorization: `Bearer ${by("token").value}` } : {});

function drawBar(said) {
  const space = "http://www.w3.org/2000/svg";
  const bar = document.createElementNS(space, "svg");
  bar.setAttribute("class", "bar");
  bar.setAttribute("viewBox", "0 0 100 12");
  bar.setAttribute("preserveAspectRatio", "none");
  bar.setAttribute("aria-hidden", "true");
  const part = (kind, x, width, y, height) => {
    const one = document.createElementNS(space, "rect");
    for (const [name, value] of Object.entries({ class: kind, x, width, y, height })) {
      one.setAttribute(name, value);
    }
    bar.append(one);
  };
  part("line", 0, 100, 5, 2);
  part("span", 100 * said.score_low, 100 * (said.score_high - said.score_low), 3, 6);
  part("cut", 100 * said.threshold - 0.15, 0.3, 1, 10);
  part("point", 100 * said.score - 0.4, 0.8, 1, 10);
  return bar;
}

/* Used for warnings about a prediction, and for those about the model above the form. */
function addWarnings(warnings, to) {
  for (const one of warnings) {
    const line = make("p", null, "mark");
    line.append(make("strong", one.title), ` ${one.text}`);
    to.append(line);
  }
}

function addNumber(said, to) {
  const line = make("p", null, "score");
  const chance = `probability of ${said.positive_name}`;
  if (said.call === "undecided") {
    line.append(make("b", "Undecided"), make("span", `${chance}: ${percent(said.score)}`));
  } else {
    line.append(make("b", percent(said.score)), make("span", chance));
  }
  to.append(line, drawBar(said));
  const facts = [
    [said.call === "undecided" ? "By the threshold alone" : "Predicted label",
      `${said.label} (threshold for ${said.positive_label}: ${percent(said.threshold)})`],
    ["Bootstrap interval", `${percent(said.score_low)} to ${percent(said.score_high)}`],
  ];
  if (said.labels) {
    const kept = said.labels.labels;
    facts.push([
      "Cannot be ruled out",
      `${kept.length ? kept.join(", ") : "no label"} (such sets contain the true label for ` +
        `${percent(said.labels.coverage)} of patients like the training patients)`,
    ]);
  }
  if (said.ventricles) {
    const { percentile, n_people, why_not } = said.ventricles;
    facts.push(["Ventricles", percentile === null ? `no percentile: ${why_not}`
      : `larger than those of ${percent(percentile)} of people of the same age and sex labelled ` +
        `${said.negative_label} (norm of ${n_people} training patients; not a part of the score)`]);
  }
  addList(facts, to);
}

function addList(facts, to) {
  const list = make("dl");
  for (const [name, value] of facts) list.append(make("dt", name), make("dd", value));
  to.append(list);
}

function addReasons(said, to) {
  if (!said.reasons.length) return;
  to.append(make("h3", "Why this scan is outside the input contract"));
  const list = make("ul");
  for (const reason of said.reasons) list.append(make("li", reason));
  to.append(list);
}

function addChecks(said, to) {
  if (!said.checks.length) return;
  const details = make("details");
  details.append(make("summary", "Checks"));
  const table = make("table"), head = make("thead"), body = make("tbody"), row = make("tr");
  for (const title of ["Condition", "Result", "Found", "Expected"]) {
    const cell = make("th", title);
    cell.scope = "col";
    row.append(cell);
  }
  head.append(row);
  const words = { pass: "met", fail: "not met", none: "not checked" };
  for (const check of said.checks) {
    const line = make("tr", null, check.verdict), name = make("th", check.title);
    name.scope = "row";
    line.append(name, make("td", words[check.verdict]), make("td", check.found), make("td", check.expected));
    body.append(line);
  }
  table.append(head, body);
  const scroll = make("div", null, "scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Checks");
  scroll.append(table);
  details.append(scroll);
  to.append(details);
}

function addJson(said, to) {
  const details = make("details"), text = make("pre", JSON.stringify(said, null, 2));
  text.tabIndex = 0;
  text.setAttribute("role", "region");
  text.setAttribute("aria-label", "Full response as JSON");
  details.append(make("summary", "Full response as JSON"), text);
  to.append(details);
}

function showPrediction(said) {
  const to = by("said");
  const titles = {
    predicted: `${said.scan_id}: ${said.call === "undecided" ? "" : "predicted "}${said.call}`,
    abstained: `${said.scan_id}: the model abstains`,
    forced: `${said.scan_id}: scored outside the input contract`,
  };
  addWarnings(said.warnings, to);
  if (said.score !== null) addNumber(said, to);
  addReasons(said, to);
  addChecks(said, to);
  to.append(make("h3", "About this prediction"));
  addList([
    ["Scan quality", { pass: "good", warn: "with warnings", fail: "poor", none: "not judged" }[said.quality]],
    ["Scan, SHA-256", said.scan_sha256],
    ["Model", `version ${said.bundle_version}, ${said.bundle_digest}`],
  ], to);
  addJson(said, to);
  return titles[said.status];
}

function showFault(fault) {
  const to = by("said");
  const facts = [["What", fault.what], ["Where", fault.where], ["Found", fault.found],
    ["Expected", fault.expected], ["What to do", fault.remedy]];
  addList(facts.filter(([, value]) => value), to);
  return "The scan was not scored";
}

function show(draw, content, isBad) {
  by("said").replaceChildren();
  by("result-title").textContent = draw(content);
  result.classList.toggle("bad", isBad);
  result.hidden = false;
  statusLine.textContent = "";
  by("result-title").focus();
}

async function answerTo(form) {
  const file = by("file").files[0];
  if (file.size > limits.max_megabytes * 1e6) {
    return [false, { what: "the file is too large", found: `${(file.size / 1e6).toFixed(0)} MB`,
      expected: `at most ${limits.max_megabytes} MB` }];
  }
  const body = new FormData(form);
  if (!by("age").value) body.delete("age");
  try {
    const response = await fetch("predict", { method: "POST", body, headers: headers() });
    return [response.ok, await response.json()];
  } catch (error) {
    return [false, { what: "the service did not answer", remedy: "Try again; if it still does not answer, ask the administrator" }];
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (working) return;
  working = true;
  send.setAttribute("aria-disabled", "true");
  result.hidden = true;
  statusLine.textContent = "Processing the scan. A prepared scan takes seconds, a raw one up to a minute.";
  const [isGood, content] = await answerTo(form);
  show(isGood ? showPrediction : showFault, content, !isGood);
  send.removeAttribute("aria-disabled");
  working = false;
});

const drop = by("drop");
for (const kind of ["dragenter", "dragover"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
for (const kind of ["dragleave", "drop"]) {
  drop.addEventListener(kind, () => drop.classList.remove("over"));
}
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files.length !== 1) {
    statusLine.textContent = "Drop one file.";
    return;
  }
  by("file").files = event.dataTransfer.files;
  statusLine.textContent = `Chosen: ${event.dataTransfer.files[0].name}`;
});

async function introduce() {
  const health = await (await fetch("health")).json();
  by("token-field").hidden = !health.token_needed;
  by("token").required = health.token_needed;
  if (health.token_needed) return;
  limits = await (await fetch("version")).json();
  addWarnings(limits.warnings, by("warnings"));
  by("about").textContent = `Model version ${limits.bundle_version}, trained on ${limits.n_patients} patients. ` +
    `At most ${limits.max_megabytes} MB per scan. mri-transfer ${limits.mri_transfer}.`;
}

introduce().catch(() => { statusLine.textContent = "The service does not answer."; });
