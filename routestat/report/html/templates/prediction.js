"use strict";
// Draws the curves for any target layer and any number of layers ahead. Without it the page shows the mean.
(() => {
  const data = JSON.parse(document.getElementById("curve-data").textContent);
  const svg = document.getElementById("curves");
  const frame = svg.parentElement;
  const part = (name) => document.getElementById("curve-" + name);
  const sentence = part("sentence");
  const rows = [...document.querySelectorAll("#curve-table tbody tr")];
  const state = { target: 0, ahead: 1, share: Number(part("share").value) };
  // As in curve_picture.py.
  const HEIGHT = 400, LEFT = 48, TOP = 12, BOTTOM = 46, NAMES = 236, APART = 15, WIDEST = 760;
  const first = data.fetched[0], n = data.fetched.length, last = data.fetched[n - 1];

  function decoded(code) {
    const values = [];
    for (let at = 0; at < code.length; at += 2) {
      const pair = code.slice(at, at + 2);
      values.push(pair === "zz" ? null : parseInt(pair, 36));
    }
    return { found: values.slice(0, n), low: values.slice(n, 2 * n), high: values.slice(2 * n) };
  }

  // Where a predictor does not depend on how far ahead it looks, its curve is kept once.
  function curveOf(place) {
    const code = data.curves[`${place} ${state.target} ${state.ahead}`] ?? data.curves[`${place} ${state.target} 0`];
    return code === undefined ? null : decoded(code);
  }

  function fetchFor(curve) {
    const at = curve.found.findIndex((value) => value !== null && value >= 10 * state.share);
    return at < 0 ? null : data.fetched[at];
  }

  function add(parent, name, attributes, text) {
    const made = document.createElementNS(svg.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  }

  function path(points) {
    return points.map(([x, y], at) => `${at ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
  }

  function apart(heights) {
    const places = [];
    for (const y of heights) places.push(Math.max(y, places.length ? places[places.length - 1] + APART : TOP));
    let limit = HEIGHT - BOTTOM;
    for (let at = places.length - 1; at >= 0; at--) {
      places[at] = Math.min(places[at], limit);
      limit = places[at] - APART;
    }
    return places;
  }

  function drawAxes(right, bottom, across, down) {
    const axes = add(svg, "g", { class: "axes" });
    for (let percent = 0; percent <= 100; percent += 20) {
      const y = down(10 * percent);
      add(axes, "path", { class: "grid", d: `M${LEFT} ${y.toFixed(1)}H${right}` });
      add(axes, "text", { x: LEFT - 6, y: (y + 4).toFixed(1), "text-anchor": "end" }, `${percent} %`);
    }
    data.fetched.forEach((one, at) => {
      add(axes, "path", { class: "tick", d: `M${across[at].toFixed(1)} ${bottom}v4` });
      if (one % first !== 0 && n > 9) return;
      add(axes, "text", { x: across[at].toFixed(1), y: bottom + 17, "text-anchor": "middle" }, one);
    });
    const middle = ((LEFT + right) / 2).toFixed(1);
    const words = `experts fetched, of ${data.experts}`;
    add(axes, "text", { x: middle, y: HEIGHT - 8, "text-anchor": "middle" }, words);
  }

  function drawCurve(predictor, curve, across, down) {
    const points = (values) => values.map((y, at) => [across[at], y]).filter(([, y]) => y !== null)
      .map(([x, y]) => [x, down(y)]);
    const group = add(svg, "g", { class: `curve ${predictor.css}`, "data-predictor": predictor.name });
    const upper = points(curve.high);
    if (upper.length) add(group, "path", { class: "band", d: path([...upper, ...points(curve.low).reverse()]) + "Z" });
    const line = points(curve.found);
    const dash = predictor.dash ? { "stroke-dasharray": predictor.dash } : {};
    add(group, "path", { class: "line", d: path(line), ...dash });
    const reached = line.find(([, y]) => y <= down(10 * state.share));
    if (reached) add(group, "circle", { cx: reached[0].toFixed(1), cy: reached[1].toFixed(1), r: 3.5 });
    return line.length ? line[line.length - 1][1] : null;
  }

  function where() {
    const ahead = state.ahead === 1 ? "" : `, ${state.ahead} layers ahead`;
    return data.targets[state.target] + ahead;
  }

  function draw() {
    const free = frame.clientWidth || WIDEST;
    const width = Math.min(WIDEST, Math.max(300, free)), names = width < 560 ? 14 : NAMES;
    const right = width - names, bottom = HEIGHT - BOTTOM, span = Math.max(last - first, 1);
    const across = data.fetched.map((one) => LEFT + ((right - LEFT) * (one - first)) / span);
    const down = (thousandths) => bottom - ((bottom - TOP) * thousandths) / 1000;
    svg.replaceChildren();
    svg.setAttribute("width", width);
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    drawAxes(right, bottom, across, down);
    add(svg, "path", { class: "limit", d: `M${LEFT} ${down(10 * state.share).toFixed(1)}H${right}`, "data-share": state.share });
    const ends = [];
    data.predictors.forEach((predictor, place) => {
      const row = rows.find((one) => one.dataset.predictor === predictor.name);
      const curve = curveOf(place);
      if (!curve || !row.querySelector("input").checked) return;
      const end = drawCurve(predictor, curve, across, down);
      if (end !== null) ends.push({ y: end, predictor });
    });
    svg.setAttribute("aria-label", `Curves of ${ends.length} predictors, ${where()}: experts fetched, ${first} to ${last} `
      + `of ${data.experts}, against the share of the needed experts that are then present, with 95 % bands. `
      + "The table has the numbers.");
    if (names < NAMES) return;
    ends.sort((one, other) => one.y - other.y);
    const group = add(svg, "g", { class: "names" }), places = apart(ends.map((end) => end.y));
    ends.forEach(({ y, predictor }, at) => {
      const line = `M${right + 2} ${y.toFixed(1)}L${right + 14} ${places[at].toFixed(1)}`;
      add(group, "path", { class: `leader ${predictor.css}`, d: line });
      add(group, "text", { x: right + 18, y: (places[at] + 4).toFixed(1) }, predictor.name);
    });
  }

  function show(cell, value, text) {
    const made = document.createElement(value === null ? "span" : "data");
    if (value === null) made.className = "none";
    else made.value = String(value);
    made.textContent = text;
    cell.replaceChildren(made);
  }

  const shares = (cell, thousandths) =>
    thousandths === null || thousandths === undefined
      ? show(cell, null, "–")
      : show(cell, thousandths / 1000, (thousandths / 1000).toFixed(3));

  function fill() {
    const known = [];
    for (const row of rows) {
      const place = data.predictors.findIndex((one) => one.name === row.dataset.predictor);
      const curve = curveOf(place), cell = (name) => row.querySelector("." + name);
      const fetch = curve && fetchFor(curve);
      shares(cell("at-k"), curve && curve.found[0]);
      shares(cell("at-2k"), curve && curve.found[data.fetched.indexOf(2 * first)]);
      show(cell("fetch"), curve ? fetch : null, curve ? fetch ?? `more than ${last}` : "–");
      if (curve) known.push({ name: row.dataset.predictor, at: curve.found[0], fetch });
    }
    for (const cell of document.querySelectorAll("#curve-table .share")) cell.textContent = `${state.share} %`;
    part("caption").textContent = where();
    sentence.textContent = said(known);
  }

  // The first sentence below the picture, as the template has it for the mean.
  function said(known) {
    const capital = where().replace(/^./, (letter) => letter.toUpperCase());
    if (!known.length) return `${capital}: nothing was scored.`;
    const best = known.reduce((one, other) => (other.at > one.at ? other : one));
    const load = known.find((one) => one.name === data.load);
    const many = (one) => (one.fetch === null ? `more than ${last}` : String(one.fetch));
    const less = load && load !== best ? `, ${many(load)} with the layer’s load alone` : "";
    return `${capital}: to have ${state.share} % of the needed experts present, fetch ${many(best)} of ${data.experts} `
      + `with ${best.name}${less}.`;
  }

  function words() {
    part("target").setAttribute("aria-valuetext", data.targets[state.target]);
    part("target-value").textContent = data.targets[state.target];
    part("share").setAttribute("aria-valuetext", `${state.share} %`);
    part("share-value").textContent = `${state.share} %`;
    if (!part("ahead")) return;
    const ahead = `${state.ahead} layer${state.ahead === 1 ? "" : "s"}`;
    part("ahead").setAttribute("aria-valuetext", ahead);
    part("ahead-value").textContent = ahead;
  }

  function update() {
    words();
    fill();
    draw();
  }

  const move = (name, change) => part(name)?.addEventListener("input", (event) => {
    change(Number(event.target.value));
    update();
  });
  move("target", (value) => { state.target = value; });
  move("ahead", (value) => { state.ahead = data.horizons[value]; });
  move("share", (value) => { state.share = value; });
  for (const row of rows) row.querySelector("input").addEventListener("change", draw);

  // Paper has the mean, whatever the sliders are at.
  const paper = matchMedia("print");
  let kept = null;
  function printing() {
    if (paper.matches && !kept) {
      kept = { ...state };
      Object.assign(state, { target: 0, ahead: 1 });
    } else if (!paper.matches && kept) {
      Object.assign(state, kept);
      kept = null;
    } else return;
    update();
  }
  paper.addEventListener("change", printing);

  for (const hidden of document.querySelectorAll("#curve-controls, #curve-table input")) hidden.hidden = false;
  let width = frame.clientWidth;
  new ResizeObserver(() => {
    if (frame.clientWidth !== width) { width = frame.clientWidth; draw(); }
  }).observe(frame);
  words();
  draw();
})();
