"use strict";
const element = (id) => document.getElementById(id);
const percent = (value) => (value === null ? "–" : `${Math.round(100 * value)} %`);
let state = null;

function show() {
  document.title = `${state.name} – robopref session`;
  element("title").textContent = state.name;
  element("success").textContent = percent(state.success);
  element("rate").textContent = percent(state.intervention_rate);
  for (const name of ["episodes", "steps", "updates", "version"]) {
    element(name).textContent = state[name].toLocaleString("en");
  }
  element("speed").textContent = state.updates_per_second.toFixed(1);
  status(state.ending ? "ending" : state.paused ? "paused" : "running",
    state.ending || state.paused ? "wait" : "run");
  element("pause").textContent = state.paused ? "Go on" : "Pause";
  element("pause").disabled = element("end").disabled = state.ending;
  element("robots").replaceChildren(...state.robots.map(robot));
  element("empty").hidden = state.curve.length > 0;
  curve(state.curve);
}

function status(text, kind) {
  element("status").textContent = text;
  element("status").className = `pill ${kind}`;
}

function robot(found) {
  const card = document.createElement("div");
  card.className = `robot ${found.connected ? found.control : "away"}`;
  const name = document.createElement("b");
  name.textContent = found.name;
  const who = document.createElement("span");
  who.className = "who";
  who.textContent = found.connected
    ? `${found.control === "person" ? "a person" : "the policy"} is driving`
    : "no connection";
  const steps = document.createElement("span");
  steps.textContent = ` · step ${found.episode_steps} of this episode, ${found.steps.toLocaleString("en")} in all`;
  card.append(name, who, steps);
  if (found.sees) {
    const image = document.createElement("img");
    image.alt = `what the cameras of ${found.name} see`;
    image.src = `picture/${found.name}?${found.steps}`;
    card.append(image);
  }
  return card;
}

function curve(episodes) {
  const make = (kind, values) => {
    const found = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [name, value] of Object.entries(values)) found.setAttribute(name, value);
    return found;
  };
  const width = 800, top = 10, bottom = 190;
  const x = (index) => ((index + 0.5) / episodes.length) * width;
  const y = (share) => bottom - share * (bottom - top);
  const parts = [0, 0.5, 1].map((share) =>
    make("line", { x1: 0, x2: width, y1: y(share), y2: y(share) }));
  const points = episodes.map((episode, index) => `${x(index)},${y(episode.rate)}`);
  if (points.length === 1) points.unshift(`0,${y(episodes[0].rate)}`);
  parts.push(make("polyline", { points: points.join(" ") }));
  const half = Math.max(width / episodes.length / 2 - 1, 0.5);
  episodes.forEach((episode, index) => parts.push(make("line", {
    x1: x(index) - half, x2: x(index) + half, y1: 208, y2: 208,
    class: episode.success ? "good" : "bad",
  })));
  element("curve").replaceChildren(...parts);
}

async function ask(path, method = "GET") {
  const reply = await fetch(path, { method, headers: { "X-Robopref": "1" } });
  if (!reply.ok) throw new Error(reply.statusText);
  state = await reply.json();
  show();
}

async function look() {
  try {
    await ask("state");
  } catch {
    status("no connection to the learner", "lost");
  }
  setTimeout(look, 500);
}

element("pause").addEventListener("click", () => ask(state.paused ? "resume" : "pause", "POST"));
element("end").addEventListener("click", () => {
  if (confirm("End the session? What was learned is kept, and resume= goes on with it.")) {
    ask("end", "POST");
  }
});
look();
