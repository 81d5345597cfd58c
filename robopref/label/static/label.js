// The label page: asks, plays the videos in step, and keeps every answer until the server has it.
const $ = (id) => document.getElementById(id);
const QUEUE = "robopref-answers"; // answers that the server has not acknowledged
const REFUSED = [409, 413, 422]; // what sending again cannot mend; a proxy may say anything else
const ANSWERS = {
  pair: [["first", "Left", "←"], ["equal", "Equal", "↓"], ["second", "Right", "→"]],
  triplet: [["first", "B", "←"], ["equal", "Equal", "↓"], ["second", "C", "→"]],
};
ANSWERS.attribute = ANSWERS.pair;
const KEYS = [
  ["← ↓ →", "left (B), equal, right (C)"], ["1 … 9", "choose a rank, or a score"],
  ["Enter", "send a ranking or a score"], ["y, n", "success at this moment, failure"],
  ["s", "skip"], ["u", "undo the last answer"], ["space", "play or pause"],
  [", .", "one picture back, one on"], ["- +", "slower, faster"], ["v", "side by side, overlaid, in turns"],
  ["r", "write a reason"], ["?", "these keys"],
];
const state = { session: null, question: null, since: 0, order: [], ready: new Map(), coming: [], turn: 0, busy: false };

// ---- talking to the server -------------------------------------------------------------------

async function call(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  const response = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  const content = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(content.detail || response.statusText), { status: response.status });
  return content;
}

const queue = {
  read: () => JSON.parse(localStorage.getItem(QUEUE) || "[]"),
  write: (answers) => localStorage.setItem(QUEUE, JSON.stringify(answers)),
};

// Sends what waits, oldest first. Tries again for as long as it takes; the server stores each once.
async function deliver() {
  let wait = 500;
  let last = null;
  while (queue.read().length) {
    const [answer, ...rest] = queue.read();
    try {
      last = await call("api/answers", answer);
    } catch (error) {
      const again = ![401, ...REFUSED].includes(error.status);
      if (error.status === 401) { notice("Open the link that you were sent."); return null; }
      if (again) {
        notice("No connection: your answer is kept here and sent again.");
        await new Promise((done) => setTimeout(done, wait));
        wait = Math.min(wait * 2, 8000);
        continue;
      }
      notice(error.status === 409 ? "That question had gone to somebody else; here is the next." : error.message, 4000);
      queue.write(rest);
      last = await call("api/next", {});
      continue;
    }
    queue.write(rest);
    notice("");
  }
  return last;
}

let noticeTimer = 0;
function notice(text, milliseconds = 0) {
  clearTimeout(noticeTimer);
  $("notice").textContent = text;
  $("notice").hidden = !text;
  if (milliseconds) noticeTimer = setTimeout(() => notice(""), milliseconds);
}

// ---- videos ----------------------------------------------------------------------------------

const videos = () => [...$("stage").querySelectorAll("video")];
const longest = () => Math.max(...videos().map((video) => video.duration || 0), 0.001);

function videoFor(url) {
  if (!state.ready.has(url)) {
    const video = document.createElement("video");
    Object.assign(video, { src: url, muted: true, playsInline: true, preload: "auto" });
    // Safari on phones loads no picture before it is sent to one.
    video.addEventListener("loadedmetadata", () => { video.currentTime = 0.001; }, { once: true });
    video.addEventListener("loadeddata", lookAhead, { once: true });
    video.addEventListener("error", () => { // being made, or the connection broke
      const tries = Number(video.dataset.tries || 0);
      if (tries > 6) { notice("A video cannot be shown; skip the question, or try again later."); return; }
      video.dataset.tries = tries + 1;
      setTimeout(() => video.load(), 600 * (tries + 1));
    });
    state.ready.set(url, video);
  }
  return state.ready.get(url);
}

// A browser has six connections to a server. Videos take half, so that no answer waits for one.
const LOADING = 3;
function lookAhead() {
  const loading = [...state.ready.values()].filter((video) => video.readyState < 2).length;
  state.coming.splice(0, Math.max(LOADING - loading, 0)).forEach(videoFor);
}

const clock = { playing: true, time: 0, stamp: 0, speed: 1 };
function tick(stamp) {
  const passed = clock.stamp ? (stamp - clock.stamp) / 1000 : 0;
  clock.stamp = stamp;
  const shown = videos();
  if (shown.length && shown.every((video) => video.readyState >= 2)) {
    if (clock.playing) {
      clock.time += passed * clock.speed;
      if (clock.time > longest() + 0.6) { // a moment on the last picture
        clock.time = 0;
        state.turn = (state.turn + 1) % shown.length;
      }
    }
    shown.forEach((video, index) => {
      video.closest("figure").classList.toggle("turn", index === state.turn);
      // Whole pictures, and no new seek before the last one is done: both videos stay in step.
      const rate = framesPerSecond();
      const at = (Math.min(picture(), Math.round(video.duration * rate) - 1) + 0.5) / rate;
      if (Math.abs(video.currentTime - at) > 0.2 / rate && !video.seeking) video.currentTime = at;
    });
    if (document.activeElement !== $("scrub")) $("scrub").value = Math.round((1000 * clock.time) / longest());
    if (!state.since) {
      state.since = performance.now();
      document.body.dataset.ready = state.question ? state.question.place : "";
    }
  }
  requestAnimationFrame(tick);
}

const framesPerSecond = () => state.question.items[0].frames_per_second;
const picture = () => Math.floor(clock.time * framesPerSecond() + 1e-6); // the one on the screen

function play(on) {
  clock.playing = on;
  $("play").textContent = on ? "Pause" : "Play";
}

function stepBy(frames) {
  play(false);
  const last = Math.round(longest() * framesPerSecond()) - 1;
  clock.time = Math.min(Math.max(Math.min(picture(), last) + frames, 0), last) / framesPerSecond();
}

// ---- the question ----------------------------------------------------------------------------

function show(question) {
  state.question = question;
  state.since = 0;
  state.order = [];
  state.turn = 0;
  clock.time = 0;
  $("reason").value = "";
  $("player").hidden = $("more").hidden = !question;
  $("answers").replaceChildren();
  const stage = $("stage");
  if (!question) {
    stage.replaceChildren();
    $("question").textContent = state.session.left ? "Nothing for you just now." : "All done. Thank you!";
    $("more").hidden = false;
    $("skip").disabled = true;
    document.body.dataset.ready = "done";
    setTimeout(() => { if (!state.question) refresh(); }, 5000);
    return;
  }
  $("skip").disabled = false;
  $("question").textContent = question.text;
  const two = question.items.length === 2;
  $("layout").hidden = !two;
  Object.assign(stage.dataset, { kind: question.kind, count: question.items.length, layout: two ? $("layout").value : "side" });
  stage.replaceChildren(...question.items.map((item, index) => figure(item, index)));
  const wanted = new Set([...question.items.map((item) => item.video), ...question.coming]);
  for (const [url, video] of state.ready) {
    if (wanted.has(url)) continue;
    state.ready.delete(url);
    video.removeAttribute("src"); // gives its connection back
    video.load();
  }
  state.coming = question.coming.filter((url) => !state.ready.has(url));
  lookAhead();
  ({ ranking: rankingAnswers, score: scoreAnswers, success: successAnswers }[question.kind] || choiceAnswers)();
}

function figure(item, index) {
  const element = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const names = { pair: ["Left", "Right"], attribute: ["Left", "Right"], triplet: ["A", "B", "C"] };
  const name = (names[state.question.kind] || [])[index] || (state.question.kind === "ranking" ? `Video ${index + 1}` : "");
  caption.append(Object.assign(document.createElement("span"), { textContent: name }));
  caption.append(Object.assign(document.createElement("span"), { textContent: `${item.steps} steps` }));
  element.append(videoFor(item.video).parentElement ? cloned(item.video) : videoFor(item.video), caption);
  return element;
}

function cloned(url) { // one piece may stand in a question twice
  const shown = videoFor(url);
  if (!$("stage").contains(shown) || shown.closest("figure") === null) return shown;
  state.ready.delete(url);
  return videoFor(url);
}

function button(text, key, action) {
  const element = document.createElement("button");
  element.append(text);
  if (key) element.append(Object.assign(document.createElement("kbd"), { textContent: key }));
  element.addEventListener("click", action);
  return element;
}

function choiceAnswers() {
  for (const [choice, text, key] of ANSWERS[state.question.kind])
    $("answers").append(button(text, key, () => answer({ choice })));
}

function rankingAnswers() {
  const send = button("Send the order", "Enter", () => answer({ order: state.order }));
  send.id = "send";
  const clear = button("Clear", "Backspace", () => rank(null));
  clear.className = "quiet";
  $("answers").append(clear, send);
  [...$("stage").children].forEach((element, index) => {
    element.tabIndex = 0;
    element.draggable = true;
    element.addEventListener("click", () => rank(index));
    element.addEventListener("dragstart", (event) => event.dataTransfer.setData("text/plain", String(index)));
    element.addEventListener("dragover", (event) => event.preventDefault());
    element.addEventListener("drop", (event) => { // before the one it is dropped on
      event.preventDefault();
      const moved = Number(event.dataTransfer.getData("text/plain"));
      const everyone = state.question.items.map((_, place) => place);
      const order = [...state.order, ...everyone.filter((place) => !state.order.includes(place))].filter((place) => place !== moved);
      order.splice(order.indexOf(index), 0, moved);
      state.order = order;
      showRanks();
    });
  });
  showRanks();
}

function rank(index) {
  if (index === null) state.order = [];
  else if (state.order.includes(index)) state.order = state.order.filter((place) => place !== index);
  else if (index < state.question.items.length) state.order.push(index);
  if (state.order.length === state.question.items.length - 1 && index !== null)
    state.order.push(state.question.items.findIndex((_, place) => !state.order.includes(place)));
  showRanks();
}

function showRanks() {
  [...$("stage").children].forEach((element, index) => {
    element.querySelector(".rank")?.remove();
    const place = state.order.indexOf(index);
    element.classList.toggle("chosen", place >= 0);
    if (place >= 0) element.append(Object.assign(document.createElement("span"), { className: "rank", textContent: place + 1 }));
  });
  $("send").disabled = state.order.length < state.question.items.length;
}

function scoreAnswers() {
  const best = state.session.best_score;
  const row = Object.assign(document.createElement("label"), { className: "score" });
  const input = Object.assign(document.createElement("input"), { type: "range", id: "score", min: 0, max: best, value: best / 2 });
  const shown = Object.assign(document.createElement("output"), { textContent: input.value });
  input.addEventListener("input", () => { shown.textContent = input.value; });
  row.append(input, shown);
  $("answers").append(row, button("Send the score", "Enter", () => answer({ score: Number(input.value) })));
}

function successAnswers() {
  const moment = () => {
    const item = state.question.items[0];
    return Math.min(picture() * item.steps_per_frame, item.steps);
  };
  $("answers").append(
    button("Success at this moment", "y", () => answer({ success: true, step: moment() })),
    button("Failure", "n", () => answer({ success: false })),
  );
}

async function answer(given) {
  if (state.busy || !state.question) return;
  state.busy = true;
  const waited = state.since ? (performance.now() - state.since) / 1000 : 0;
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const name = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  queue.write([...queue.read(), {
    place: state.question.place, client_id: name, answer: given,
    response_time_s: Math.min(waited, 86400), reason: $("reason").value.trim(),
  }]);
  document.activeElement?.blur();
  await goOn(deliver());
}

async function goOn(promise) {
  state.busy = true;
  try {
    const found = await promise;
    if (found) {
      showProgress(found);
      show(found.next);
    }
  } catch (error) {
    notice(error.status === 401 ? "Open the link that you were sent." : `No answer from the server (${error.message}).`);
    setTimeout(refresh, 3000);
  } finally {
    state.busy = false;
  }
}

function showProgress({ answered, left }) {
  Object.assign(state.session, { answered, left });
  $("bar").max = Math.max(answered + left, 1);
  $("bar").value = answered;
  $("count").textContent = `${answered} answered, ${left} left`;
}

async function refresh() {
  await goOn((async () => {
    await deliver();
    state.session = await call("api/session");
    notice("");
    $("title").textContent = state.session.title;
    $("annotator").textContent = state.session.annotator;
    $("instructions").textContent = state.session.instructions;
    $("instructions").hidden = !state.session.instructions;
    return call("api/next", {});
  })());
}

const undo = () => { if (!state.busy) goOn(call("api/undo", {})); };

// ---- statistics ------------------------------------------------------------------------------

const number = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const cell = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });

function table(head, rows) {
  const element = document.createElement("table");
  for (const [tag, row] of [["th", head], ...rows.map((values) => ["td", values])]) {
    const line = element.insertRow();
    line.append(...row.map((text) => cell(tag, text)));
  }
  return element;
}

async function statistics() {
  const found = await call("api/statistics");
  $("people").replaceChildren(table(
    ["", "answers", "skipped", "time", "chose left", "same again"],
    found.people.map((person) => [
      person.name, person.answers, person.skipped, `${number(person.median_time_s, 1)} s`,
      number(person.left_share), person.repeated ? `${number(person.consistency)} of ${person.repeated}` : "–",
    ]),
  ));
  const shared = found.agreement.questions;
  $("agreement").textContent = !shared ? "" :
    `Agreement over ${shared} shared questions: Krippendorff's alpha ${number(found.agreement.krippendorff_alpha)}, ` +
    `Fleiss' kappa ${number(found.agreement.fleiss_kappa)}, Cohen's kappa ${number(found.agreement.cohen_kappa)}.`;
  $("curve").replaceChildren(...curve(found.learning.curve || []));
  $("statistics").showModal();
}

function curve(points) {
  if (!points.length) return [];
  const svg = (tag, attributes, text = "") => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    return element;
  };
  const most = Math.max(...points.map((point) => point.answers));
  const x = (answers) => 40 + (380 * answers) / most;
  const y = (accuracy) => 150 - (accuracy - 0.4) * 220;
  const picture = svg("svg", { viewBox: "0 0 440 180", role: "img", "aria-label": "held-out accuracy of the reward by answers" });
  for (const share of [0.5, 0.75, 1]) {
    picture.append(svg("line", { x1: 40, x2: 420, y1: y(share), y2: y(share), stroke: "currentColor", "stroke-opacity": 0.2 }));
    picture.append(svg("text", { x: 34, y: y(share) + 4, "text-anchor": "end", "font-size": 11, fill: "currentColor" }, `${share * 100} %`));
  }
  const line = points.map((point) => `${x(point.answers)},${y(point.accuracy)}`).join(" ");
  picture.append(svg("polyline", { points: line, fill: "none", stroke: "currentColor", "stroke-width": 2 }));
  for (const point of points) picture.append(svg("circle", { cx: x(point.answers), cy: y(point.accuracy), r: 3, fill: "currentColor" }));
  picture.append(svg("text", { x: 230, y: 175, "text-anchor": "middle", "font-size": 11, fill: "currentColor" }, `answers (${most}); held-out accuracy of the reward`));
  return [picture];
}

// ---- keys and buttons ------------------------------------------------------------------------

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.id === "reason") {
    if (event.key === "Escape" || event.key === "Enter") event.target.blur();
    return;
  }
  const kind = state.question?.kind;
  const buttons = [...$("answers").querySelectorAll("button")];
  const chosen = { ArrowLeft: 0, ArrowDown: 1, ArrowRight: 2 }[event.key];
  const digit = /^[0-9]$/.test(event.key) ? Number(event.key) : null;
  const scored = $("score");
  const actions = {
    s: () => state.question && answer({ skip: true }), u: undo, " ": () => play(!clock.playing),
    ",": () => stepBy(-1), ".": () => stepBy(1), "-": () => speed(-1), "+": () => speed(1),
    v: () => layout(($("layout").selectedIndex + 1) % 3), r: () => $("reason").focus(), "?": () => $("help").showModal(),
    y: () => kind === "success" && buttons[0].click(), n: () => kind === "success" && buttons[1].click(),
    Enter: () => (kind === "ranking" || kind === "score") && buttons.at(-1).click(),
    Backspace: () => kind === "ranking" && rank(null),
  };
  if (chosen !== undefined && ANSWERS[kind]) buttons[chosen].click();
  else if (digit !== null && kind === "ranking" && digit > 0) rank(digit - 1);
  else if (digit !== null && scored) { scored.value = digit; scored.dispatchEvent(new Event("input")); }
  else if (actions[event.key]) actions[event.key]();
  else return;
  event.preventDefault();
}

function speed(change) {
  const list = $("speed");
  list.selectedIndex = Math.min(Math.max(list.selectedIndex + change, 0), list.options.length - 1);
  clock.speed = Number(list.value);
}

function layout(index) {
  $("layout").selectedIndex = index;
  if (state.question?.items.length === 2) $("stage").dataset.layout = $("layout").value;
}

document.addEventListener("keydown", onKey);
$("play").addEventListener("click", () => play(!clock.playing));
$("back").addEventListener("click", () => stepBy(-1));
$("forth").addEventListener("click", () => stepBy(1));
$("scrub").addEventListener("input", () => { play(false); clock.time = (Number($("scrub").value) / 1000) * longest(); });
$("scrub").addEventListener("change", () => $("scrub").blur());
$("speed").addEventListener("change", () => { clock.speed = Number($("speed").value); $("speed").blur(); });
$("layout").addEventListener("change", () => { layout($("layout").selectedIndex); $("layout").blur(); });
$("skip").addEventListener("click", () => state.question && answer({ skip: true }));
$("undo").addEventListener("click", undo);
$("show-help").addEventListener("click", () => $("help").showModal());
$("show-statistics").addEventListener("click", () => statistics().catch((error) => notice(error.message, 4000)));
for (const dialog of document.querySelectorAll("dialog")) dialog.querySelector("button").addEventListener("click", () => dialog.close());
$("keys").replaceWith(Object.assign(table(["", ""], KEYS), { id: "keys" }));
requestAnimationFrame(tick);
refresh();
