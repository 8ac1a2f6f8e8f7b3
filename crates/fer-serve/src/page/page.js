// The page: one source at a time (camera, picture or video), its frames to the service, and the answers on the screen.

import { cameraTrouble, facesUser, listCameras, openCamera, whyNoCamera } from "./camera.js";
import { drawFaces, snapshot } from "./draw.js";
import { Faces } from "./faces.js";
import { Live, ask, inOneLine, setToken, takeToken } from "./service.js";

const LONGEST_SIDE = 640;
const JPEG_QUALITY = 0.85;
// Boxes of an older answer would lie beside the faces that they belong to.
const STALE_AFTER = 1500;
const SAID_EVERY = 2000;
const RATE_OVER = 2000;
const MOST_TRIES = 5;
const READY = "Ready.";
const LOOKS = "The service looks at the frames and stores none.";

const $ = id => document.getElementById(id);
const root = document.documentElement.dataset;
const video = $("video"), picture = $("picture"), overlay = $("overlay"), view = $("view");
const panel = new Faces($("faces"));
const canvas = document.createElement("canvas");

let model = null;
let source = "none";
// Counts the sources, so that what comes late for an earlier one can be told.
let turn = 0;
let live = null;
let stream = null;
let file = null;
let request = null;
let answer = null;
let mirrored = false;
let explain = false;
let isFrameNew = false;
let isEncoding = false;
let sides = new Map();
let arrivals = [];
let said = { text: "", at: 0 };

function say(text, isTrouble = false) {
  if ($("status").textContent !== text) $("status").textContent = text;
  $("status").classList.toggle("trouble", isTrouble);
}

const isTroubled = () => $("status").classList.contains("trouble");

// Sources

function setSource(name) {
  source = root.source = name;
  $("empty").hidden = name !== "none";
  video.hidden = name !== "camera" && name !== "video";
  picture.hidden = name !== "picture";
  view.classList.toggle("full", name !== "none");
  $("camera").textContent = name === "camera" ? "Stop the camera" : "Start the camera";
  $("mirror").hidden = name !== "camera";
  if (name !== "camera") $("choice").hidden = true;
  setMirrored(false);
}

/** Ends what is shown, and forgets its faces. */
function stop() {
  turn++;
  request?.abort();
  live?.close();
  live = request = file = answer = null;
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = video.srcObject = null;
  for (const element of [video, picture]) {
    if (element.src) URL.revokeObjectURL(element.src);
    element.removeAttribute("src");
  }
  video.load();
  video.controls = false;
  view.style.removeProperty("--ratio");
  [sides, arrivals, isFrameNew, isEncoding] = [new Map(), [], false, false];
  panel.clear();
  setSource("none");
  $("snapshot").disabled = true;
  said = { text: "", at: 0 };
  $("said").textContent = "";
  show();
  ready();
}

function setMirrored(wanted) {
  mirrored = wanted;
  video.classList.toggle("mirrored", wanted);
  $("mirror").setAttribute("aria-pressed", wanted);
  drawOverlay();
}

async function startCamera(id) {
  stop();
  const why = whyNoCamera();
  if (why) return say(why, true);
  const mine = turn;
  say("Asking the browser for the camera …");
  let opened;
  try {
    opened = await openCamera(id);
  } catch (error) {
    if (mine === turn) say(cameraTrouble(error), true);
    return;
  }
  if (mine !== turn) return opened.getTracks().forEach(track => track.stop());
  const [track] = opened.getVideoTracks();
  stream = video.srcObject = opened;
  track.onended = () => {
    stop();
    say("The camera is gone.", true);
  };
  setSource("camera");
  setMirrored(facesUser(track));
  startLive();
  await video.play().catch(() => {});
  const choice = await listCameras($("camera-choice"), track.getSettings().deviceId);
  if (mine === turn) $("choice").hidden = !choice;
}

function openFile(chosen) {
  if (!chosen) return;
  stop();
  if (chosen.type.startsWith("video/")) openVideo(chosen);
  else openPicture(chosen);
}

function openVideo(chosen) {
  video.src = URL.createObjectURL(chosen);
  video.controls = true;
  setSource("video");
  startLive();
  video.play().catch(() => {});
}

async function openPicture(chosen) {
  file = chosen;
  const mine = turn;
  picture.src = URL.createObjectURL(chosen);
  setSource("picture");
  try {
    await picture.decode();
  } catch {
    if (mine !== turn) return;
    stop();
    return say("This file is neither a picture nor a video that this browser can show.", true);
  }
  if (mine !== turn) return;
  setRatio(picture.naturalWidth, picture.naturalHeight);
  await askPicture();
}

function setRatio(width, height) {
  if (width && height) view.style.setProperty("--ratio", width / height);
}

// A picture: one request

async function askPicture(tries = 1) {
  request?.abort();
  request = new AbortController();
  const mine = request;
  const started = performance.now();
  say("The service looks at the picture …");
  try {
    const found = await ask(explain ? "v1/explain" : "v1/predict", { method: "POST", body: file, signal: mine.signal });
    const size = { width: picture.naturalWidth, height: picture.naturalHeight };
    take(found, { ...size, image: picture, grabbed: started });
    say(found.faces.length ? "Answered. The service has not stored the picture." : "No face was found in the picture.");
  } catch (error) {
    if (error.name === "AbortError" || mine !== request) return;
    if (error.status === 429 && tries < MOST_TRIES) return askLater(mine, tries, error.retryAfter || 1);
    refused(error);
  }
}

function askLater(mine, tries, seconds) {
  say(`The service is busy; asks again in ${seconds} s.`);
  setTimeout(() => mine === request && !mine.signal.aborted && askPicture(tries + 1), 1000 * seconds);
}

// Camera and video: frames over the socket

function startLive() {
  live = new Live({ answer: takeFrame, state: connection, lost: frameLost }, explain);
  nextFrame(turn);
}

function connection(state, wait) {
  root.socket = state === "refused" ? "closed" : state;
  if (state === "open") {
    say(LOOKS);
    panel.renew();
    // A service that was started anew may have another model.
    loadModel().catch(() => {});
    pump();
  } else if (state === "connecting") {
    if (!isTroubled()) say("Connecting to the service …");
  } else if (state === "refused") {
    say("A token of these characters cannot be sent over a socket.", true);
    $("token-form").hidden = false;
  } else if (wait) {
    say(`The connection to the service is closed; tries again in ${wait / 1000} s.`, true);
    findOutWhy();
  }
}

/** A browser does not say why a socket did not open; a request does. */
async function findOutWhy() {
  try {
    await loadModel();
  } catch (error) {
    if (error.status !== 401) return;
    live?.close();
    refused(error);
  }
}

/** Marks each frame that the video shows, so that none is sent twice. */
function nextFrame(mine) {
  if (mine !== turn) return;
  const next = () => {
    frameShown();
    nextFrame(mine);
  };
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(next);
  else setTimeout(() => video.paused ? nextFrame(mine) : next(), 33);
}

function frameShown() {
  isFrameNew = true;
  pump();
}

/** Sends the frame that is shown now, where it is new and may go. What does not fit is left out: the next is newer. */
function pump() {
  if (!isFrameNew || isEncoding || document.hidden || !live?.ready || video.readyState < 2 || !video.videoWidth) return;
  isFrameNew = false;
  isEncoding = true;
  const scale = Math.min(1, LONGEST_SIDE / Math.max(video.videoWidth, video.videoHeight));
  const [width, height] = [video.videoWidth, video.videoHeight].map(side => Math.round(side * scale));
  const frame = { grabbed: performance.now(), width, height };
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").drawImage(video, 0, 0, width, height);
  const mine = turn;
  canvas.toBlob(blob => {
    if (mine !== turn) return;
    isEncoding = false;
    if (blob) live?.send({ ...frame, blob });
    pump();
  }, "image/jpeg", JPEG_QUALITY);
}

function takeFrame(found, frame) {
  if (found.error) {
    say(found.error.message, true);
  } else {
    if (isTroubled()) say(LOOKS);
    take(found, frame);
  }
  pump();
}

function frameLost() {
  say("The service has not answered a frame for five seconds.", true);
}

// Answers

function take(found, frame) {
  const now = performance.now();
  answer = { faces: found.faces, frame, at: now };
  root.answers = Number(root.answers) + 1;
  arrivals.push({ at: now, latency: now - frame.grabbed, service: found.milliseconds });
  panel.take(found.faces, source !== "picture");
  $("snapshot").disabled = false;
  drawOverlay();
  if (source === "picture") show();
}

function drawOverlay() {
  const ratio = devicePixelRatio || 1;
  const [width, height] = [overlay.clientWidth, overlay.clientHeight].map(side => Math.round(side * ratio));
  if (overlay.width !== width || overlay.height !== height) [overlay.width, overlay.height] = [width, height];
  const context = overlay.getContext("2d");
  context.clearRect(0, 0, width, height);
  if (!answer || source === "none") return;
  const unit = ratio * (width / ratio < 480 ? 12 : 14);
  const scale = width / answer.frame.width;
  drawFaces(context, answer.faces, { width: answer.frame.width, scale, mirror: mirrored, unit, colors: panel.colors, sides });
}

/** Brings numbers and panel up to date. */
function show() {
  const now = performance.now();
  const isMoving = source === "camera" || (source === "video" && !video.paused);
  if (answer && isMoving && now - answer.at > STALE_AFTER && answer.faces.length) {
    panel.take([], true);
    answer = { ...answer, faces: [] };
    drawOverlay();
  }
  panel.show();
  $("none").hidden = !panel.isEmpty;
  showNumbers(now);
  speak(now);
}

function showNumbers(now) {
  if (source !== "picture") arrivals = arrivals.filter(arrival => now - arrival.at < RATE_OVER);
  const mean = key => arrivals.reduce((sum, arrival) => sum + arrival[key], 0) / arrivals.length;
  const milliseconds = value => Number.isFinite(value) ? `${Math.round(value)} ms` : "–";
  const isRate = source !== "picture" && arrivals.length > 1;
  $("rate").textContent = isRate ? (1000 * arrivals.length / RATE_OVER).toFixed(1) : "–";
  $("latency").textContent = milliseconds(source === "picture" ? arrivals.at(-1)?.latency : mean("latency"));
  $("service").textContent = milliseconds(mean("service"));
}

/** For screen readers: only what changed, and not faster than it can be heard. */
function speak(now) {
  if (source === "none" || !answer || now - said.at < SAID_EVERY) return;
  const text = panel.summary();
  if (text === said.text) return;
  said = { text, at: now };
  $("said").textContent = text;
}

// Controls

function toggleExplain() {
  explain = !explain;
  $("explain").setAttribute("aria-pressed", explain);
  $("explained").hidden = !explain;
  live?.explain(explain);
  if (source === "picture") askPicture();
  if (source === "video" && video.paused) frameShown();
}

async function saveSnapshot() {
  const { faces, frame } = answer;
  const time = new Date();
  const name = `fer-${time.toISOString().slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "-")}`;
  const image = frame.image ?? await createImageBitmap(frame.blob);
  const png = await snapshot(image, frame.width, frame.height, faces, panel.colors);
  const facts = { time: time.toISOString(), source, model: model?.name, width: frame.width, height: frame.height, faces };
  download(png, `${name}.png`);
  download(new Blob([JSON.stringify(facts, null, 2)], { type: "application/json" }), `${name}.json`);
  say(`Saved ${name}.png and ${name}.json.`);
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// The service's model and token

async function loadModel() {
  model = await ask("v1/model");
  $("token-form").hidden = true;
  panel.setLabels(model.labels);
  $("model-name").textContent = inOneLine(model);
  $("card").textContent = model.card ?? "This model has no card: nothing is known here about its data and its accuracy.";
  $("model").hidden = false;
}

function refused(error) {
  say(error.message, true);
  if (error.status !== 401) return;
  $("token-form").hidden = false;
  $("token").focus();
}

function ready() {
  if (source === "none") say(whyNoCamera() || READY, whyNoCamera() !== "");
}

async function useToken(event) {
  event.preventDefault();
  setToken($("token").value);
  $("token").value = "";
  try {
    await loadModel();
    ready();
    $("camera").focus();
    live?.open();
    if (source === "picture") askPicture();
  } catch (error) {
    refused(error);
  }
}

function listen() {
  $("camera").onclick = () => source === "camera" ? stop() : startCamera();
  // The choice is hidden while another camera starts, which takes the focus from it.
  $("camera-choice").onchange = event => startCamera(event.target.value).then(() => $("camera-choice").focus());
  $("mirror").onclick = () => setMirrored(!mirrored);
  $("choose").onclick = () => $("file").click();
  $("file").onchange = event => {
    openFile(event.target.files[0]);
    event.target.value = "";
  };
  $("explain").onclick = toggleExplain;
  $("snapshot").onclick = saveSnapshot;
  $("token-form").onsubmit = useToken;
  document.ondragover = event => {
    event.preventDefault();
    view.classList.add("over");
  };
  document.ondragleave = event => event.relatedTarget || view.classList.remove("over");
  document.ondrop = event => {
    event.preventDefault();
    view.classList.remove("over");
    openFile(event.dataTransfer.files[0]);
  };
  document.onpaste = event => openFile(event.clipboardData.files[0]);
  video.onresize = video.onloadedmetadata = () => setRatio(video.videoWidth, video.videoHeight);
  video.onseeked = video.onpause = () => source === "video" && frameShown();
  video.onerror = () => {
    if (source !== "video") return;
    stop();
    say("This browser cannot play this video.", true);
  };
  document.onvisibilitychange = () => {
    if (document.hidden) return;
    live?.open();
    pump();
  };
  navigator.mediaDevices?.addEventListener("devicechange", async () => {
    const choice = await listCameras($("camera-choice"), stream?.getVideoTracks()[0]?.getSettings().deviceId);
    $("choice").hidden = source !== "camera" || !choice;
  });
  new ResizeObserver(drawOverlay).observe(overlay);
}

const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
takeToken();
listen();
setInterval(show, isCalm ? 500 : 125);
// Frames that were lost free their places without an event.
setInterval(pump, 1000);
loadModel().then(ready).catch(refused);
