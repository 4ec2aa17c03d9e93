// Fetches the page's part, and acts through Airflow's own interface, with its permissions.
"use strict";

const body = document.body, root = document.documentElement;
const airflow = new URL(body.dataset.airflow, location).href;
const dag = body.dataset.dag;
const main = document.getElementById("part");
const said = document.getElementById("said");
const name = encodeURIComponent;
let pause = 1500;

function outer() {
  // To read another origin's frame raises.
  try { return parent !== window && parent.document; } catch { return null; }
}

function followTheme() {
  const above = outer();
  if (!above) return;
  const html = above.documentElement;
  const apply = () => {
    root.dataset.theme = html.classList.contains("dark") ? "dark" : "light";
    const paper = parent.getComputedStyle(html).getPropertyValue("--chakra-colors-bg").trim();
    if (paper) root.style.setProperty("--paper", paper);
  };
  apply();
  new MutationObserver(apply).observe(html, { attributes: true });
}

function open_(address, here) {
  // Airflow's frame lets no link open a window; one in Airflow's own page may.
  const blank = here ? {} : { target: "_blank", rel: "noreferrer noopener" };
  const link = make("a", "", { href: address, ...blank });
  (outer() || document).body.append(link);
  link.click();
  link.remove();
}

function make(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const words = { 401: "You are signed out: sign in to Airflow again.", 403: "Your account may not do or see this." };

async function call(method, path, json) {
  const answer = await fetch(`${airflow}api/v2/${path}`, {
    method,
    ...(json && { headers: { "Content-Type": "application/json" }, body: JSON.stringify(json) }),
  });
  const told = await answer.json().catch(() => ({}));
  if (answer.ok) return told;
  const detail = typeof told.detail === "string" ? told.detail : JSON.stringify(told.detail ?? "");
  const error = new Error(words[answer.status] ?? `Airflow refused (${answer.status}): ${detail}`);
  error.status = answer.status;
  throw error;
}

async function load(anew = false) {
  const asked = document.activeElement.matches("[data-refresh]");
  main.setAttribute("aria-busy", "true");
  const part = new URL(body.dataset.part, location);
  if (anew) part.searchParams.set("anew", "true");
  try {
    const answer = await fetch(part);
    if (answer.ok) main.innerHTML = await answer.text();
    else refuse(words[answer.status] ?? `Airflow answered ${answer.status}.`, answer.status === 401);
  } catch (error) {
    refuse(`Airflow does not answer (${error.message}).`);
  }
  main.removeAttribute("aria-busy");
  if (asked) main.querySelector("[data-refresh]")?.focus();
  questions();
  const soon = main.querySelector("[data-soon]");
  if (soon) later(soon);
  else pause = 1500;
}

// Asks again, ever less often; not while somebody is in the page by keyboard.
function later(soon) {
  setTimeout(() => {
    if (!soon.isConnected) return;
    main.querySelector(":focus:not([data-refresh])") ? later(soon) : load(true);
  }, pause);
  pause = Math.min(2 * pause, 30000);
}

function notice(text, more) {
  const box = make("section", "", { class: "notice", ...more });
  box.append(make("p", text));
  main.replaceChildren(box);
  main.removeAttribute("aria-busy");
  return box;
}

function refuse(text, signedOut = false) {
  const box = notice(text, { class: "notice bad", role: "alert" });
  if (signedOut) box.append(make("a", "Sign in", { href: airflow, "data-outside": "" }));
  else box.append(make("button", "Try again", { "data-refresh": "" }));
}

async function questions() {
  const place = document.getElementById("questions");
  if (!place) return;
  let found;
  try {
    found = await call("GET", `dags/${dag ? name(dag) : "~"}/dagRuns/~/hitlDetails?response_received=false&task_id=approve&limit=50`);
  } catch { return; }  // who may not see questions is shown none
  const wanted = new URLSearchParams(location.search).get("run_id");
  const open = found.hitl_details.filter((one) => !wanted || one.task_instance.dag_run_id === wanted);
  place.hidden = !open.length;
  place.querySelector(".list").replaceChildren(...open.map(question));
}

function question(one) {
  const task = one.task_instance, box = make("article", "", { class: "question" });
  box.append(make("h3", one.subject));
  for (const line of (one.body ?? "").split("\n")) {
    const text = line.replace(/^\*\s*/, "").replace(/^\[.*\]\(.*\)$/, "").trim();
    if (text) box.append(make("p", text));
  }
  const row = make("p", "", { class: "row" });
  const night = `${airflow}understudy/dags/${name(task.dag_id)}/night?run_id=${name(task.dag_run_id)}`;
  if (!location.href.startsWith(night)) row.append(make("a", "The decision", { class: "button", href: night }));
  const state = make("span", "", { class: "said", role: "status" });
  for (const option of one.options) {
    const button = make("button", option, { class: option === "Approve" ? "primary" : "" });
    button.addEventListener("click", () => respond(task, option, row, state));
    row.append(button);
  }
  row.append(state);
  box.append(row);
  return box;
}

async function respond(task, option, row, state) {
  const at = `dags/${name(task.dag_id)}/dagRuns/${name(task.dag_run_id)}/taskInstances/${name(task.task_id)}`;
  const able = (can) => row.querySelectorAll("button").forEach((one) => { one.disabled = !can; });
  const tell = (text) => { state.textContent = text; };
  able(false);
  tell("Sending ...");
  try {
    await call("PATCH", `${at}/${task.map_index}/hitlDetails`, { chosen_options: [option], params_input: {} });
    tell(`${option}: sent.`);
    // Airflow may lose an answer in the question's own second.
    const end = await watch(at, (now) => tell(`${option}: sent; the task is ${now}.`));
    tell({ success: "Taken.", skipped: "Taken: no promotion.", up_for_retry: "Airflow lost the answer and will ask again." }[end] ?? `The task ${end}: look at its log.`);
    if (end === "up_for_retry") setTimeout(questions, 15000);
  } catch (error) {
    tell(error.status === 409 ? "Somebody has answered already." : error.message);
    able(error.status !== 409);
  }
}

async function watch(path, tell) {
  const ends = ["success", "skipped", "failed", "up_for_retry", "upstream_failed"];
  for (let left = 300; left; left--) {
    const now = (await call("GET", path)).state;
    if (ends.includes(now)) return now;
    tell(now ?? "waiting");
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
  return "has not ended in ten minutes";
}

function act(dialog, send) {
  const form = dialog.querySelector("form"), state = dialog.querySelector(".said");
  const go = form.querySelector(".primary");
  state.textContent = "";
  go.disabled = false;
  form.onsubmit = async (event) => {
    event.preventDefault();
    go.disabled = true;
    try { await send(new FormData(form), (text) => { state.textContent = text; said.textContent = text; }); }
    catch (error) { state.textContent = error.message; go.disabled = false; }
  };
  dialog.showModal();
}

async function begin(dagId, conf, note, tell) {
  const of = `dags/${name(dagId)}`, about = await call("GET", of);
  const run = await call("POST", `${of}/dagRuns`, { logical_date: null, conf, note });
  const at = `${of}/dagRuns/${name(run.dag_run_id)}`;
  const end = await watch(at, (now) => tell(`Dag run ${run.dag_run_id} of ${dagId} is ${now}.`
    + (now === "queued" && about.is_paused ? " Unpause it, or nothing begins." : "")));
  return [end, at];
}

function trigger() {
  act(document.getElementById("trigger"), async (form, tell) => {
    const [end, at] = await begin(dag, {}, form.get("note") || null, tell);
    tell((await call("GET", `${at}/taskInstances/report`)).rendered_map_index ?? `The night ${end}.`);
  });
}

async function rollbackDag(model) {
  const found = await call("GET", "dags?tags=understudy-rollback&limit=100&exclude_stale=true");
  for (const one of found.dags) {
    const details = await call("GET", `dags/${name(one.dag_id)}/details`);
    const offered = details.params?.model?.schema?.enum;
    if (!offered || offered.includes(model)) return one.dag_id;
  }
  throw new Error(`No Dag that you may see takes ${model} back. Next: add dags/rollback.py.`);
}

function rollback(to) {
  const dialog = document.getElementById("rollback"), { model, from } = dialog.dataset;
  dialog.querySelector(".names").textContent = `Version ${to} of ${model} becomes champion` + (from ? ` in place of version ${from}.` : ".");
  act(dialog, async (form, tell) => {
    const conf = { model, to, why: form.get("why"), block: form.get("block"), rehearse: form.has("rehearse") };
    const [end] = await begin(await rollbackDag(model), conf, null, tell);
    tell(end === "success" ? `Version ${to} is champion again.` : `The rollback ${end}: the log of its task says why.`);
    if (end === "success") load(true);
  });
}

document.addEventListener("click", (event) => {
  const at = (selector) => event.target.closest(selector);
  const link = at("a[target=_blank], a[data-outside]");
  if (link && outer()) { event.preventDefault(); open_(link.href, "outside" in link.dataset); }
  else if (at("[data-refresh]")) load(true);
  else if (at("[data-trigger]")) trigger();
  else if (at("[data-rollback]")) rollback(at("[data-rollback]").dataset.rollback);
  else if (at("[data-close]")) at("dialog").close();
});

async function begun() {
  followTheme();
  // The tab stands on every Dag: for one that is not ours MLflow is not asked.
  const about = dag && await call("GET", `dags/${name(dag)}`).catch(() => null);
  if (about && !about.tags.some((tag) => tag.name === "understudy")) {
    notice(`${dag} is no pipeline of Understudy: it retrains no model, so there is no champion to show.`);
  } else load();
}
begun();
