// The map of texts: points by family, findings outlined. deck.gl draws; what is near the pointer is looked up
// in a grid here, so that moving it costs the graphics card nothing.
"use strict";

(() => {
  const box = document.getElementById("map");
  if (!box) return;
  const state = document.querySelector(".map-state");
  const tip = document.querySelector(".map-tip");
  const tools = document.querySelector(".map-tools");
  const side = document.getElementById("map-text");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const CELLS = 512;
  const REACH_PX = 9;
  const SLOW_MS = 120;
  const REST_MS = 250;
  const CELLS_MAX = 3000;
  const ringColour = { critical: "--critical", high: "--high", medium: "--medium", low: "--low" };

  function say(text) {
    state.textContent = text;
    state.hidden = !text;
  }

  async function load() {
    const answer = await fetch(box.dataset.source, { credentials: "same-origin" });
    if (answer.redirected) return location.reload();
    if (answer.status === 202) {
      const { state: word, error, texts } = await answer.json();
      if (word === "none") return say("There is nothing to draw before a run is done.");
      if (word === "failed") return say(`It could not be drawn: ${error}`);
      say(`${texts.toLocaleString("en")} texts are being laid out, once a run. The map appears by itself.`);
      setTimeout(start, 2000);
      return undefined;
    }
    if (!answer.ok) return say("The map cannot be fetched now. Reload the page to try again.");
    return unpack(await answer.arrayBuffer());
  }

  function unpack(buffer) {
    const length = new DataView(buffer).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    const n = head.points;
    let at = 4 + length;
    const take = (Kind, count) => {
      const part = new Kind(buffer, at, count);
      at += part.byteLength;
      return part;
    };
    return {
      ...head,
      n,
      ids: take(Float64Array, n),
      xy: take(Float32Array, 2 * n),
      family: take(Int32Array, n),
      finding: take(Int32Array, n),
    };
  }

  // Families by the golden angle, so that numbers next to each other are hues apart; equal in lightness.
  function familyColour(number) {
    const hue = (number * 137.508) % 360;
    const [s, l] = dark.matches ? [0.5, 0.62] : [0.55, 0.45];
    const channel = (k) => {
      const t = (k + hue / 30) % 12;
      return Math.round(255 * (l - s * Math.min(l, 1 - l) * Math.max(-1, Math.min(t - 3, 9 - t, 1))));
    };
    return [channel(0), channel(8), channel(4)];
  }

  function cssColour(name) {
    const probe = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    return [1, 3, 5].map((place) => parseInt(probe.slice(place, place + 2), 16));
  }

  function coloured(map) {
    const colours = new Uint8Array(4 * map.n);
    const none = dark.matches ? [110, 118, 126, 150] : [150, 156, 162, 150];
    for (let i = 0; i < map.n; i += 1) {
      const rgb = map.family[i] < 0 ? none : [...familyColour(map.family[i]), 215];
      colours.set(rgb, 4 * i);
    }
    return colours;
  }

  // The rows of points that can be told apart at a zoom: of those in one cell the first is enough. Points of findings
  // come first. Where cells would be many there is little to leave out.
  function distinct(map, order, zoom, cell) {
    const columns = Math.ceil((2 * 2 ** zoom) / cell);
    if (columns > CELLS_MAX) return order;
    const taken = new Uint8Array(columns * columns);
    return order.filter((i) => {
      const place = (axis) => Math.min(columns - 1, Math.floor(((map.xy[2 * i + axis] + 1) / 2) * columns));
      const at = place(0) + columns * place(1);
      const free = !taken[at];
      taken[at] = 1;
      return free;
    });
  }

  function picked(rows, values, size, Kind) {
    const part = new Kind(size * rows.length);
    rows.forEach((row, place) => {
      for (let k = 0; k < size; k += 1) part[size * place + k] = values[size * row + k];
    });
    return part;
  }

  // Of discs under the points of findings, which together outline them: the colour of their severity; those not chosen
  // fade while some are.
  function severities(map, rows, chosen) {
    const boxes = Array.from(document.querySelectorAll("[data-finding]"));
    const colourOf = map.findings.map((id) => {
      const item = boxes.find((one) => one.dataset.finding === id);
      return cssColour(ringColour[item ? item.dataset.severity : "low"]);
    });
    const colours = new Uint8Array(4 * rows.length);
    rows.forEach((row, place) => {
      const shown = !chosen.size || chosen.has(map.findings[map.finding[row]]);
      colours.set([...colourOf[map.finding[row]], shown ? 255 : 40], 4 * place);
    });
    return colours;
  }

  function bounds(map) {
    const low = [1, 1];
    const high = [-1, -1];
    for (let i = 0; i < 2 * map.n; i += 1) {
      low[i % 2] = Math.min(low[i % 2], map.xy[i]);
      high[i % 2] = Math.max(high[i % 2], map.xy[i]);
    }
    const [width, height] = [0, 1].map((axis) => Math.max(high[axis] - low[axis], 0.02));
    return { width, height, centre: [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, 0] };
  }

  function gridOf(map) {
    const heads = new Int32Array(CELLS * CELLS).fill(-1);
    const next = new Int32Array(map.n);
    for (let i = 0; i < map.n; i += 1) {
      const cell = cellOf(map.xy[2 * i]) + CELLS * cellOf(map.xy[2 * i + 1]);
      next[i] = heads[cell];
      heads[cell] = i;
    }
    return { heads, next };
  }

  const cellOf = (value) => Math.max(0, Math.min(CELLS - 1, Math.floor(((value + 1) / 2) * CELLS)));

  function nearest(map, grid, x, y, reach) {
    let best = -1;
    let least = reach * reach;
    for (let row = cellOf(y - reach); row <= cellOf(y + reach); row += 1) {
      for (let column = cellOf(x - reach); column <= cellOf(x + reach); column += 1) {
        for (let i = grid.heads[column + CELLS * row]; i >= 0; i = grid.next[i]) {
          const distance = (map.xy[2 * i] - x) ** 2 + (map.xy[2 * i + 1] - y) ** 2;
          if (distance < least) [best, least] = [i, distance];
        }
      }
    }
    return best;
  }

  function named(map, i) {
    const parts = [`text ${map.ids[i]}`];
    if (map.family[i] >= 0) parts.push(map.families[map.family[i]]);
    if (map.finding[i] >= 0) parts.push(map.findings[map.finding[i]]);
    return parts.join(" · ");
  }

  async function read(map, i) {
    const answer = await fetch(`/texts/${map.ids[i]}?part`, { credentials: "same-origin" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = answer.ok ? page.body : page.querySelector("main") || page.body;
    side.replaceChildren(...Array.from(found.childNodes));
  }

  function draw(map) {
    const grid = gridOf(map);
    const chosen = new Set(box.dataset.chosen ? [box.dataset.chosen] : []);
    const fill = coloured(map);
    const extent = bounds(map);
    const fit = () => Math.log2(Math.min(box.clientWidth / extent.width, box.clientHeight / extent.height) / 1.08);
    let view = { target: extent.centre, zoom: fit(), minZoom: fit() - 1, maxZoom: 18 };
    const size = () => Math.max(1, Math.min(6, 160 / Math.sqrt(map.n) + (view.zoom - fit()) * 0.7));

    const order = Uint32Array.from({ length: map.n }, (_, i) => i);
    const first = [...order.filter((i) => map.finding[i] >= 0), ...order.filter((i) => map.finding[i] < 0)];
    let thinned = { zoom: NaN };
    const layers = () => {
      if (!(Math.abs(view.zoom - thinned.zoom) < 0.2)) {
        const rows = distinct(map, first, view.zoom, size());
        const inside = rows.filter((i) => map.finding[i] >= 0);
        thinned = {
          zoom: view.zoom,
          rows,
          inside,
          xy: picked(rows, map.xy, 2, Float32Array),
          insideXy: picked(inside, map.xy, 2, Float32Array),
        };
      }
      const { rows, inside, xy, insideXy } = thinned;
      const sheet = cssColour("--sheet");
      const flat = { coordinateSystem: deck.COORDINATE_SYSTEM.CARTESIAN, pickable: false, radiusUnits: "pixels" };
      const data = (length, attributes) => ({
        length,
        attributes: Object.fromEntries(Object.entries(attributes).map(([name, [value, width]]) => [name, { value, size: width }])),
      });
      box.dataset.drawn = String(rows.length);
      return [
        new deck.ScatterplotLayer({
          ...flat,
          id: "halos",
          getRadius: size() + 3,
          data: data(inside.length, { getPosition: [insideXy, 2], getFillColor: [severities(map, inside, chosen), 4] }),
        }),
        new deck.ScatterplotLayer({
          ...flat,
          id: "gaps",
          getRadius: size() + 1.6,
          getFillColor: sheet,
          data: data(inside.length, { getPosition: [insideXy, 2] }),
        }),
        new deck.ScatterplotLayer({
          ...flat,
          id: "texts",
          getRadius: size(),
          data: data(rows.length, { getPosition: [xy, 2], getFillColor: [picked(rows, fill, 4, Uint8Array), 4] }),
        }),
      ];
    };

    // Where drawing all points takes long, as without a graphics card, what moves is a copy of the last picture; the
    // points are drawn anew when it comes to rest.
    const copy = document.createElement("canvas");
    copy.className = "map-copy";
    copy.hidden = true;
    box.after(copy);
    let drawn = view;
    let begun = performance.now();
    let cost = 0;
    let resting = 0;
    let moving = false;

    const picture = new deck.Deck({
      parent: box,
      views: new deck.OrthographicView({ flipY: false }),
      controller: true,
      viewState: view,
      layers: layers(),
      useDevicePixels: map.n < 50000,
      onError: () => say("This browser cannot draw with WebGL. What the map shows stands in the tables below."),
      onViewStateChange: ({ viewState }) => look(viewState),
      onAfterRender: () => {
        if (!moving) rendered();
      },
    });

    function rendered() {
      drawn = view;
      box.dataset.frames = String(1 + Number(box.dataset.frames || 0));
      // The second frame from here waits for the graphics process to have finished this one.
      requestAnimationFrame(() => requestAnimationFrame(() => {
        cost = performance.now() - begun;
        box.dataset.cost = String(Math.round(cost));
      }));
      if (cost > SLOW_MS) keep();
    }

    function keep() {
      const canvas = box.querySelector("canvas");
      [copy.width, copy.height] = [canvas.width, canvas.height];
      copy.getContext("2d").drawImage(canvas, 0, 0);
      copy.dataset.of = "a picture";
      copy.hidden = true;
      copy.style.transform = "";
      box.classList.remove("moving");
    }

    function look(next) {
      const zoomed = next.zoom !== view.zoom;
      view = next;
      if (cost <= SLOW_MS || !copy.dataset.of) {
        begun = performance.now();
        picture.setProps(zoomed ? { viewState: view, layers: layers() } : { viewState: view });
        return;
      }
      slide();
      clearTimeout(resting);
      resting = setTimeout(rest, REST_MS);
    }

    function slide() {
      const scale = 2 ** view.zoom;
      const [x, y] = [drawn.target[0] - view.target[0], view.target[1] - drawn.target[1]];
      copy.style.transform = `translate(${x * scale}px, ${y * scale}px) scale(${scale / 2 ** drawn.zoom})`;
      copy.hidden = false;
      box.classList.add("moving");
      box.dataset.slides = String(1 + Number(box.dataset.slides || 0));
      picture.setProps(moving ? { viewState: view } : { viewState: view, layers: picture.props.layers.map((layer) => layer.clone({ visible: false })) });
      moving = true;
    }

    function rest() {
      moving = false;
      begun = performance.now();
      picture.setProps({ viewState: view, layers: layers() });
    }

    const at = (event) => {
      const frame = box.getBoundingClientRect();
      const scale = 2 ** view.zoom;
      const x = view.target[0] + (event.clientX - frame.left - frame.width / 2) / scale;
      const y = view.target[1] - (event.clientY - frame.top - frame.height / 2) / scale;
      return nearest(map, grid, x, y, REACH_PX / scale);
    };

    box.addEventListener("pointermove", (event) => {
      const i = event.buttons ? -1 : at(event);
      tip.hidden = i < 0;
      if (i < 0) return;
      const frame = box.getBoundingClientRect();
      tip.textContent = named(map, i);
      tip.style.left = `${Math.min(event.clientX - frame.left + 12, frame.width - 180)}px`;
      tip.style.top = `${event.clientY - frame.top + 12}px`;
    });
    box.addEventListener("pointerleave", () => { tip.hidden = true; });

    let down = [0, 0];
    box.addEventListener("pointerdown", (event) => { down = [event.clientX, event.clientY]; });
    box.addEventListener("click", (event) => {
      if (Math.hypot(event.clientX - down[0], event.clientY - down[1]) > 4) return;
      // A click's own place is rounded to whole pixels; what opens is what was named under the pointer.
      const i = at({ clientX: down[0], clientY: down[1] });
      if (i >= 0) read(map, i);
    });

    for (const item of document.querySelectorAll("[data-finding]")) {
      item.checked = chosen.has(item.dataset.finding);
      item.addEventListener("change", () => {
        if (item.checked) chosen.add(item.dataset.finding);
        else chosen.delete(item.dataset.finding);
        picture.setProps({ layers: layers() });
      });
    }
    for (const button of tools.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => {
        const step = Number(button.dataset.zoom);
        look(step ? { ...view, zoom: view.zoom + step } : { ...view, target: extent.centre, zoom: fit() });
      });
    }
    dark.addEventListener("change", () => {
      fill.set(coloured(map));
      picture.setProps({ layers: layers() });
    });
    tools.hidden = false;
    box.dataset.points = String(map.n);
    say(map.n < map.texts ? `${map.n.toLocaleString("en")} of ${map.texts.toLocaleString("en")} texts: all of findings, and some others.` : "");
  }

  async function start() {
    const map = await load().catch(() => say("The map cannot be fetched now. Reload the page to try again."));
    if (map) draw(map);
  }

  if (typeof deck === "undefined") say("The map's drawing library could not be loaded. What it shows stands in the tables below.");
  else start();
})();
