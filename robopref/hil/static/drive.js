// Drives the robot: what is held goes to the actor twenty times a second, nothing when all is let go.
"use strict";
const $ = (id) => document.getElementById(id);
const held = { pad: null, height: null, open: false, close: false };
const keys = new Set();
let gripper = 0, socket = null, lost = "";

function tell(text, kind) {
  $("status").textContent = text;
  $("status").className = kind;
}

// ---- what is held ------------------------------------------------------------------------------
function surface(name, axes) {
  const place = $(name), knob = place.querySelector(".knob");
  const move = (event) => {
    const box = place.getBoundingClientRect();
    let x = (event.clientX - box.left) / box.width * 2 - 1, y = 1 - (event.clientY - box.top) / box.height * 2;
    if (!axes.includes("x")) x = 0;
    const length = Math.max(Math.hypot(x, y), 1);
    held[name] = [x / length, y / length];
    knob.style.transform = `translate(${x / length * box.width * 0.38}px, ${-y / length * box.height * 0.38}px)`;
    send();
  };
  const end = () => {
    held[name] = null;
    knob.style.transform = "";
    place.classList.remove("held");
    send();
  };
  place.addEventListener("pointerdown", (event) => {
    place.setPointerCapture(event.pointerId);
    place.classList.add("held");
    move(event);
  });
  place.addEventListener("pointermove", (event) => { if (held[name]) move(event); });
  for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) place.addEventListener(kind, end);
}
surface("pad", "xy");
surface("height", "y");

for (const [name, sign] of [["open", -1], ["close", 1]]) {
  const button = $(name);
  button.addEventListener("pointerdown", (event) => {
    button.setPointerCapture(event.pointerId);
    held[name] = true;
    gripper = sign;
    button.classList.add("held");
    send();
  });
  for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) {
    button.addEventListener(kind, () => { held[name] = false; button.classList.remove("held"); send(); });
  }
}

const MOVES = { w: [0, 1, 0], s: [0, -1, 0], a: [-1, 0, 0], d: [1, 0, 0], r: [0, 0, 1], f: [0, 0, -1] };
document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  if (key === " ") { event.preventDefault(); stop(); return; }
  if (key === "y" || key === "n") { verdict(key === "y"); return; }
  if (key === "o" || key === "c") gripper = key === "o" ? -1 : 1;
  else if (!MOVES[key]) return;
  keys.add(key);
  send();
});
document.addEventListener("keyup", (event) => { keys.delete(event.key.toLowerCase()); send(); });
function letGo() {
  keys.clear();
  Object.assign(held, { pad: null, height: null, open: false, close: false });
  send();
}
addEventListener("blur", letGo);
document.addEventListener("visibilitychange", () => { if (document.hidden) letGo(); });

function driven() {
  if (!(held.pad || held.height || held.open || held.close || keys.size)) return null;
  const move = [held.pad ? held.pad[0] : 0, held.pad ? held.pad[1] : 0, held.height ? held.height[1] : 0];
  for (const key of keys) (MOVES[key] || []).forEach((value, axis) => { move[axis] += value; });
  return { move: move.map((value) => Math.min(Math.max(value, -1), 1)), gripper };
}

// ---- the connection ----------------------------------------------------------------------------
function send(more = {}) {
  const now = driven();
  if (!lost) tell(now ? "you are driving" : "the policy is driving", now ? "you" : "policy");
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ ...now, ...more }));
}
function verdict(success) {
  send({ verdict: success });
  tell(success ? "called a success" : "called a failure", "policy");
}
function stop() {
  send({ stop: true });
  tell("stopped", "lost");
  lost = "stopped";
}
$("stop").addEventListener("click", stop);
$("yes").addEventListener("click", () => verdict(true));
$("no").addEventListener("click", () => verdict(false));

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  socket = new WebSocket(`${scheme}://${location.host}${location.pathname}/ws`);
  socket.binaryType = "blob";
  socket.addEventListener("message", (event) => {
    const before = $("view").src;
    $("view").src = URL.createObjectURL(event.data);
    $("view").hidden = false;
    if (before) URL.revokeObjectURL(before);
  });
  socket.addEventListener("open", () => { lost = ""; send(); });
  socket.addEventListener("close", (event) => {
    if (lost === "stopped") return;
    lost = event.code === 4409 ? "somebody else is driving" : "no connection to the robot";
    tell(lost, "lost");
    setTimeout(connect, 1000);
  });
}
connect();
setInterval(() => send(), 50);
