// The signing room with scripts: what is left, the next field, saving as one goes, and the pad to sign on.
// The page works without this file: everything here changes inputs of one form, and the server checks all of it again.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const PAD_ASPECT = 3;
  const STROKES_MAX = 200, POINTS_MAX = 8000, LENGTH_MIN = 0.1, SAVE_AFTER_MS = 700, RETRY_MS_MAX = 30000;

  // ---- While the documents are being sealed: asked for until they are. A timed reload would move who reads by ear.
  const SEALING_MS = 2000;
  async function sealed(sealing) {
    try {
      const answer = await fetch(location.href);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
      if (answer.ok && fresh && fresh.id !== "sealing") return sealing.replaceWith(document.adoptNode(fresh));
    } catch { /* Asked again below. */ }
    setTimeout(sealed, SEALING_MS, sealing);
  }
  if ($("sealing")) sealed($("sealing"));

  const room = $("room");
  if (!room) return;
  document.documentElement.classList.add("js");
  const words = room.dataset;
  // After a refused finish the address is the form's.
  const home = words.values.replace(/values$/, "document");
  const input = (name) => room.elements.namedItem(name);
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

  // ---- The signature: kept in the form's hidden inputs, shown wherever it goes.
  const signature = { kind: input("signature.kind"), strokes: input("signature.strokes"), aspect: input("signature.aspect"), text: input("signature.text") };
  const strokesOf = (text) => { try { const read = JSON.parse(text || "[]"); return Array.isArray(read) ? read : []; } catch { return []; } };
  const made = () => signature.text && (signature.kind.value === "drawn" ? strokesOf(signature.strokes.value).length > 0 : signature.text.value.trim() !== "");

  // A line through the middles of its points, as the sealed file draws it.
  function path(stroke, width, height) {
    const at = ([x, y]) => `${(x * width).toFixed(2)} ${(y * height).toFixed(2)}`;
    if (stroke.length < 3) return `M${at(stroke[0])}L${at(stroke[stroke.length - 1])}`;
    let d = `M${at(stroke[0])}`;
    for (let i = 1; i < stroke.length - 1; i++) {
      const [a, b] = [stroke[i], stroke[i + 1]];
      d += `Q${at(a)} ${at([(a[0] + b[0]) / 2, (a[1] + b[1]) / 2])}`;
    }
    return `${d}L${at(stroke[stroke.length - 1])}`;
  }
  function drawing(strokes, aspect) {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${100 * aspect} 100`);
    svg.setAttribute("preserveAspectRatio", "xMidYMid meet");
    svg.setAttribute("aria-hidden", "true");
    for (const stroke of strokes) {
      const line = document.createElementNS(SVG, "path");
      line.setAttribute("d", path(stroke, 100 * aspect, 100));
      for (const [name, value] of [["fill", "none"], ["stroke", "currentColor"], ["stroke-width", "3"], ["stroke-linecap", "round"], ["stroke-linejoin", "round"]]) line.setAttribute(name, value);
      svg.append(line);
    }
    return svg;
  }
  function show(target, fallback) {
    target.replaceChildren();
    if (!made()) { target.textContent = fallback; return; }
    if (signature.kind.value === "drawn") target.append(drawing(strokesOf(signature.strokes.value), Number(signature.aspect.value) || PAD_ASPECT));
    else target.textContent = signature.text.value;
  }
  // A long name is made smaller until it fits, as the sealed file does.
  function shrink(target) {
    target.style.fontSize = "";
    const inner = target.clientWidth;
    if (inner > 0 && target.scrollWidth > inner) target.style.fontSize = `${parseFloat(getComputedStyle(target).fontSize) * inner / target.scrollWidth}px`;
  }

  // ---- The fields, in reading order.
  const fields = [...room.querySelectorAll(".field")].map((box) => {
    const number = /(?:^| )p(\d+)/.exec(box.className)[1];
    return { box, number, kind: box.dataset.kind, name: box.dataset.name, control: $(`f-${number}`), spot: room.querySelector(`.s${number}`), error: $(`e-${number}`), first: false };
  }).filter((field) => field.kind !== "date_signed");
  for (const field of fields) {
    if (field.kind === "signature" && field.control === signature.text) {
      // The text input gives way to a button that opens the pad; it stays in the form.
      const button = document.createElement("button");
      button.type = "button";
      button.className = "entry signbtn";
      button.id = field.control.id;
      button.setAttribute("aria-describedby", `e-${field.number}`);
      field.control.id = `t-${field.number}`;
      field.control.type = "hidden";
      field.control.after(button);
      field.control = button;
      field.first = true;
      button.addEventListener("click", () => openPad());
    }
  }
  const isDone = (field) => field.kind === "signature" ? made() : field.control.type === "checkbox" ? field.control.checked : field.control.value.trim() !== "";
  // The one signature goes to every signature field; it is made at the first.
  const isMust = (field) => field.box.classList.contains("must") && (field.kind !== "signature" || field.first);
  const open = () => fields.filter((field) => isMust(field) && !isDone(field));

  function refresh() {
    for (const field of fields) {
      const done = isDone(field);
      if (field.first) {
        field.control.classList.toggle("made", done);
        show(field.control, words.sign);
        field.control.setAttribute("aria-label", `${field.name}. ${done ? `${words.change}: ${signature.kind.value === "drawn" ? words.drawn : signature.text.value}` : words.sign}`);
        if (done) shrink(field.control);
      } else if (field.kind === "signature") {
        field.control.classList.toggle("made", !!made());
        field.control.dataset.words ??= field.control.textContent;
        show(field.control, field.control.dataset.words);
      }
      if (field.spot) {
        const face = field.spot.firstElementChild;
        face.dataset.words ??= face.textContent;
        field.spot.classList.toggle("filled", done);
        field.spot.classList.toggle("signed", done && field.kind === "signature");
        if (!done) face.textContent = face.dataset.words;
        else if (field.kind === "signature") show(face, "");
        else face.textContent = field.control.type === "checkbox" ? "✓" : field.control.value;
      }
    }
    const left = open().length, all = fields.filter(isMust).length;
    $("left").textContent = left === 0 ? words.leftNone : fill(words.left, { left, all });
    $("next").hidden = left === 0;
    $("finish").hidden = left !== 0;
    if (left) $("next").textContent = fill(words.next, { field: open()[0].name });
  }
  function fail(field, text) {
    field.box.classList.add("wrong");
    field.control.setAttribute("aria-invalid", "true");
    field.control.setAttribute("aria-describedby", `e-${field.number}`);
    field.error.textContent = text;
    field.error.hidden = false;
  }
  function clear(field) {
    field.box.classList.remove("wrong");
    field.control.removeAttribute("aria-invalid");
    field.error.hidden = true;
  }
  function go(field) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    field.box.scrollIntoView({ block: "center", behavior: still ? "auto" : "smooth" });
    field.control.focus({ preventScroll: true });
  }
  $("next").addEventListener("click", () => {
    const field = open()[0];
    if (!field) return;
    const here = document.activeElement === field.control;
    go(field);
    if (field.first) openPad(); else if (here) fail(field, words.required);
  });

  // ---- Saving as one goes, under a version: a lost update is told, not swallowed.
  let timer = 0, sending = false, again = false, retry = 1000, stopped = false, finishing = false;
  const values = () => Object.fromEntries(fields
    .filter((field) => field.kind !== "signature" && !field.control.readOnly && !field.control.disabled)
    .map((field) => [field.control.name.slice("value.".length), field.control.type === "checkbox" ? field.control.checked : field.control.value]));
  function later(ms) { clearTimeout(timer); timer = setTimeout(save, ms); }
  function tell(text) {
    stopped = true;
    const box = document.createElement("div"), line = document.createElement("p"), link = document.createElement("a");
    box.className = "notice warn";
    [line.textContent, link.textContent] = text.split("|");
    link.href = home;
    line.append(" ", link);
    box.append(line);
    $("notices").replaceChildren(box);
    box.scrollIntoView({ block: "center" });
    $("saved").textContent = "";
  }
  async function save() {
    if (stopped || finishing) return;
    if (sending) { again = true; return; }
    sending = true;
    $("saved").textContent = words.saving;
    try {
      const answer = await fetch(words.values, { method: "POST", credentials: "same-origin", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ version: Number(input("version").value), values: values() }) });
      if (answer.ok) {
        input("version").value = (await answer.json()).version;
        $("saved").textContent = words.saved;
        retry = 1000;
      } else if (answer.status === 422) {
        const problem = await answer.json();
        $("saved").textContent = "";
        for (const error of problem.errors ?? []) {
          const field = fields.find((one) => error.pointer === `/values/${one.control.name.slice("value.".length).replaceAll("~", "~0").replaceAll("/", "~1")}`);
          if (field) fail(field, error.detail);
        }
      } else if (answer.status === 409) tell(words.outdated);
      else if (answer.status < 500 && answer.status !== 429) tell(words.ended);
      else throw new Error(String(answer.status));
    } catch {
      $("saved").textContent = words.unsaved;
      later(retry);
      retry = Math.min(retry * 2, RETRY_MS_MAX);
    }
    sending = false;
    if (again) { again = false; later(0); }
  }
  room.addEventListener("input", (event) => {
    const field = fields.find((one) => one.control === event.target);
    if (field) clear(field);
    refresh();
    if (field && field.kind !== "signature") later(SAVE_AFTER_MS);
  });
  // Enter in a field goes on to the next one; only the button finishes.
  room.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target.tagName !== "INPUT" || event.isComposing) return;
    event.preventDefault();
    const next = open()[0];
    if (next && next.control !== event.target) go(next); else $("finish").focus();
  });
  room.addEventListener("submit", (event) => {
    const missing = open();
    if (missing.length) {
      event.preventDefault();
      for (const field of missing) fail(field, words.required);
      go(missing[0]);
      return;
    }
    // A save that is under way would make the version that is sent an old one.
    clearTimeout(timer);
    if (finishing) { event.preventDefault(); return; }
    finishing = true;
    $("finish").setAttribute("aria-disabled", "true");
    if (sending) {
      event.preventDefault();
      const wait = setInterval(() => { if (!sending) { clearInterval(wait); room.submit(); } }, 50);
    }
  });
  // Never a page from the browser's memory: its version would be an old one.
  addEventListener("pageshow", (event) => { if (event.persisted) location.replace(home); });

  // ---- The pad: typed or drawn. Strokes are kept from 0 to 1, so turning the phone loses nothing.
  const pad = $("pad"), canvas = $("pad-canvas"), tabs = { typed: $("tab-type"), drawn: $("tab-draw") };
  let kind = "typed", strokes = [], current = null;
  const count = () => strokes.reduce((sum, stroke) => sum + stroke.length, 0);
  const length = () => strokes.reduce((sum, stroke) => sum + stroke.slice(1).reduce((part, [x, y], i) => part + Math.hypot(x - stroke[i][0], (y - stroke[i][1]) / PAD_ASPECT), 0), 0);

  function paint() {
    const box = canvas.getBoundingClientRect(), scale = devicePixelRatio || 1;
    if (box.width === 0) return;
    const [width, height] = [Math.round(box.width * scale), Math.round(box.height * scale)];
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, width, height);
    pen.lineWidth = height * 0.03;
    pen.lineCap = pen.lineJoin = "round";
    pen.strokeStyle = getComputedStyle(canvas).color;
    for (const stroke of strokes) pen.stroke(new Path2D(path(stroke, width, height)));
    $("pad-undo").disabled = $("pad-clear").disabled = strokes.length === 0;
  }
  function point(event) {
    const box = canvas.getBoundingClientRect(), part = (value) => Math.round(Math.min(1, Math.max(0, value)) * 1e4) / 1e4;
    return [part((event.clientX - box.left) / box.width), part((event.clientY - box.top) / box.height)];
  }
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || current || strokes.length >= STROKES_MAX) return;
    canvas.setPointerCapture(event.pointerId);
    current = { id: event.pointerId, stroke: [point(event)] };
    strokes.push(current.stroke);
    $("pad-error").hidden = true;
    paint();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== current?.id) return;
    const merged = event.getCoalescedEvents?.() ?? [];
    for (const each of merged.length ? merged : [event]) {
      const next = point(each), last = current.stroke[current.stroke.length - 1];
      if (count() < POINTS_MAX && Math.hypot(next[0] - last[0], (next[1] - last[1]) / PAD_ASPECT) > 0.002) current.stroke.push(next);
    }
    paint();
  });
  for (const type of ["pointerup", "pointercancel"]) canvas.addEventListener(type, (event) => { if (event.pointerId === current?.id) { current = null; paint(); } });
  $("pad-undo").addEventListener("click", () => { strokes.pop(); paint(); });
  $("pad-clear").addEventListener("click", () => { strokes = []; paint(); });
  pad.addEventListener("keydown", (event) => { if (kind === "drawn" && event.key === "z" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); strokes.pop(); paint(); } });
  new ResizeObserver(paint).observe(canvas);

  function preview() { $("pad-preview").textContent = $("pad-text").value; shrink($("pad-preview")); }
  $("pad-text").addEventListener("input", () => { $("pad-error").hidden = true; preview(); });
  function choose(which, focus) {
    kind = which;
    for (const [name, tab] of Object.entries(tabs)) {
      tab.setAttribute("aria-selected", String(name === which));
      tab.tabIndex = name === which ? 0 : -1;
      $(tab.getAttribute("aria-controls")).hidden = name !== which;
    }
    $("pad-error").hidden = true;
    if (focus) tabs[which].focus();
    if (which === "drawn") paint(); else preview();
  }
  for (const [name, tab] of Object.entries(tabs)) {
    tab.addEventListener("click", () => choose(name, false));
    tab.addEventListener("keydown", (event) => { if (event.key === "ArrowLeft" || event.key === "ArrowRight") choose(name === "typed" ? "drawn" : "typed", true); });
  }
  function openPad() {
    if (pad.open) return;
    strokes = signature.kind.value === "drawn" ? strokesOf(signature.strokes.value) : strokes;
    if (signature.text.value) $("pad-text").value = signature.text.value;
    pad.showModal();
    choose(signature.kind.value === "drawn" ? "drawn" : kind, false);
    if (kind === "typed") $("pad-text").select();
  }
  function refuse(text) { $("pad-error").textContent = text; $("pad-error").hidden = false; }
  $("pad-use").addEventListener("click", (event) => {
    const text = $("pad-text").value.trim();
    if (kind === "typed" && !text) { event.preventDefault(); refuse(words.empty); $("pad-text").focus(); return; }
    if (kind === "drawn" && length() < LENGTH_MIN) { event.preventDefault(); refuse(words.dot); return; }
    signature.kind.value = kind;
    if (kind === "typed") signature.text.value = text;
    signature.strokes.value = kind === "drawn" ? JSON.stringify(strokes) : "";
    signature.aspect.value = String(PAD_ASPECT);
  });
  // Enter in the text is "use this", never the first button of the form, which cancels.
  $("pad-text").addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.isComposing) { event.preventDefault(); $("pad-use").click(); } });
  pad.addEventListener("close", () => {
    if (made()) for (const field of fields) if (field.first) clear(field);
    pad.returnValue = "";
    refresh();
  });

  const options = document.querySelector(".options");
  addEventListener("click", (event) => { if (!options.contains(event.target)) options.open = false; });
  options.addEventListener("keydown", (event) => { if (event.key === "Escape") { options.open = false; options.firstElementChild.focus(); } });

  refresh();
  document.fonts?.ready.then(refresh);
  addEventListener("resize", () => { for (const field of fields) if (field.first && isDone(field)) shrink(field.control); });
  if ($("errors")) $("errors").focus();
})();
