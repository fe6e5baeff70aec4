// Routes, the header, the keyboard.
"use strict";

{
  const { el } = vg;

  // Addresses: #/clip/ID, #/metrics, #/?q=red&sort=coherence.score ------------------------------------
  vg.hash = (path, query = {}) => {
    const said = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
    return `#/${path}${said.length ? `?${new URLSearchParams(said)}` : ""}`;
  };
  vg.go = (path, query) => {
    const hash = vg.hash(path, query);
    if (hash === location.hash) return;
    const typing = document.activeElement?.id === "search" && location.hash.startsWith("#/?");
    history[typing ? "replaceState" : "pushState"](null, "", hash);
    draw();
  };
  vg.route = () => {
    const [path, query] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
    const parts = path.split("/").map((part) => { try { return decodeURIComponent(part); } catch { return part; } });
    return { parts, query: Object.fromEntries(new URLSearchParams(query ?? "")) };
  };

  // Header -----------------------------------------------------------------------------------------
  vg.head = (table) => {
    const { run, kind, uri, shown, total } = table.run;
    const name = uri.split("/").filter(Boolean).at(-1) ?? uri;
    const number = (text, what) => el("div", { class: "figure" }, el("b", {}, text), el("span", {}, what));
    const score = table.about.get("coherence.score"), motion = table.about.get("motion.total");
    const figures = run ? [
      number(vg.number(run.done), run.done === 1 ? "clip" : "clips"),
      run.failed ? number(vg.number(run.failed), "failed") : null,
      run.pending ? number(vg.number(run.pending), "pending") : null,
      number(vg.seconds(run.video_s), "of video"), number(vg.bytes(run.bytes), "stored"),
      run.elapsed_s ? number(vg.seconds(run.elapsed_s), "elapsed") : null,
      run.clips_per_minute ? number(vg.number(run.clips_per_minute), "clips a minute") : null,
      run.gpu_s ? number(vg.seconds(run.gpu_s), "device time") : null,
      run.cost ? number(vg.number(run.cost), "cost") : null,
    ] : [number(vg.number(total), "videos")];
    if (score) figures.push(number(vg.number(score.mean), "coherence, mean"));
    if (motion) figures.push(number(vg.number(motion.mean), `motion, mean ${motion.unit}`));
    return el("section", { class: "intro", "aria-label": "The run" },
      el("h1", { tabindex: "-1" }, name, run ? el("span", { class: `state ${run.state}` }, run.state.replace("_", " ")) : null),
      el("p", { class: "hint" }, run ? `Model ${run.model} · ${vg.when(run.started_at)} · ` : "A folder of videos · ", el("code", {}, uri), shown < total ? ` · shows ${shown.toLocaleString("en")} of ${total.toLocaleString("en")} rows, evenly spaced` : ""),
      el("div", { class: "figures" }, figures), table.metrics.length || kind === "folder" && !total ? null : vg.noMetrics(table));
  };

  vg.noMetrics = (table) => el("p", { class: "note", id: "no-metrics" }, "No metrics yet. ", el("code", {}, `videogen evaluate ${table.run.uri}`), " would add them: coherence, flicker, motion, drift and more; then make the report again.");

  function nav(table) {
    const failed = table.run.run?.failed ?? 0;
    const pages = [["", "Gallery"], ["metrics", "Metrics"], ["cost", "Cost"], failed ? ["failures", `Failures ${failed.toLocaleString("en")}`] : null, table.run.axes.length ? ["sweep", "Sweep"] : null, vg.tables.b ? ["compare", "Compare"] : null, ["run", "Run"]].filter(Boolean);
    const here = vg.route().parts[0];
    vg.$("nav").replaceChildren(...pages.map(([path, text]) => el("a", { href: `#/${path}`, "aria-current": here === path || (here === "clip" && path === "") ? "page" : null }, text)));
  }

  // Pages ------------------------------------------------------------------------------------------
  let shown = null;

  async function draw() {
    const table = vg.tables.a, main = vg.$("main");
    const { parts: [page, id], query } = vg.route();
    const place = `${page}/${id ?? ""}`;
    const pages = { metrics: vg.studies.metrics, cost: vg.studies.cost, failures: vg.studies.failures, sweep: table.run.axes.length ? vg.sweep.show : null, compare: vg.tables.b ? vg.compare.show : null, run: vg.studies.about };
    vg.keysOf = {};
    nav(table);
    if (page === "clip") await vg.clip.show(main, table, id);
    else (pages[page] ?? vg.gallery.show)(main, table, query);
    main.dataset.page = page || "gallery";
    document.title = `${page === "clip" ? id : page || table.run.uri.split("/").filter(Boolean).at(-1)} · videogen report`;
    if (shown !== null && shown !== place) {
      const card = shown.startsWith("clip/") && page === "" ? cardOf(shown.slice(5)) : null;
      if (card) card.focus(); else { scrollTo({ top: 0 }); main.querySelector("h1")?.focus({ preventScroll: true }); }
    }
    shown = place;
  }

  const cardOf = (id) => [...document.querySelectorAll(".card")].find((card) => card.dataset.id === id);

  // Keyboard ---------------------------------------------------------------------------------------
  const KEYS = [["/", "search"], ["← ↑ → ↓", "from clip to clip"], ["Enter", "open the clip"], ["Esc", "back to all clips, or leave the search"], ["n  p", "next, previous page"], ["space", "play or pause a clip"], [",  .", "one frame back, on"], ["c", "copy the row that makes the clip"], ["t", "dark or light"], ["?", "this help"]];

  function help() {
    const dialog = vg.$("keys");
    dialog.replaceChildren(el("h2", { id: "keys-title" }, "Keyboard"), vg.terms(KEYS.map(([key, what]) => [el("kbd", {}, key), what])), el("h2", {}, "Search"), el("p", {}, "Words must all occur; -word must not; \"…\" holds words together. ", el("code", {}, "coherence.score<0.8"), " ", el("code", {}, "guidance_scale=5"), " ", el("code", {}, "sampler!=euler"), " compare any column."), el("form", { method: "dialog" }, el("button", {}, "Close")));
    dialog.showModal();
  }

  function turnTheme() {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    vg.remember("theme", root.dataset.theme);
  }

  // The card above, below or beside the one that has the focus.
  function neighbour(cards, from, key) {
    const place = cards.indexOf(from);
    if (place < 0) return cards[0];
    if (key === "ArrowLeft") return cards[place - 1];
    if (key === "ArrowRight") return cards[place + 1];
    const columns = cards.filter((card) => card.offsetTop === cards[0].offsetTop).length;
    return cards[place + (key === "ArrowDown" ? columns : -columns)];
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || vg.$("keys").open) return;
    const target = event.target;
    if (target.matches("input, select, textarea")) {
      if (event.key === "Escape") { target.blur(); event.preventDefault(); }
      return;
    }
    if (event.key === " " && target.matches("button, a, summary")) return;
    const cards = [...document.querySelectorAll(".card")];
    const turn = (name) => () => document.querySelector(`[data-page="${name}"]:not([disabled])`)?.click();
    const common = {
      "/": () => { if (vg.$("search")) vg.$("search").select(); else location.hash = vg.hash("", vg.listed?.query); },
      "?": help, t: turnTheme, n: turn("next page"), p: turn("previous page"),
      Escape: () => { if (vg.route().parts[0]) location.hash = vg.hash("", vg.listed?.query ?? {}); },
    };
    const arrows = cards.length ? Object.fromEntries(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].map((key) => [key, () => {
      const next = neighbour(cards, document.activeElement, key);
      next?.focus();
      next?.scrollIntoView({ block: "nearest" });
      return Boolean(next) || document.activeElement.matches(".card");
    }])) : {};
    const found = { ...common, ...arrows, ...vg.keysOf }[event.key];
    if (found && found() !== false) event.preventDefault();
  }

  // Start ------------------------------------------------------------------------------------------
  async function start() {
    vg.tables = {};
    const { sides } = await vg.load("report");
    vg.tables.a = await vg.openTable("a");
    if (sides.includes("b")) [vg.tables.b, vg.comparison] = await Promise.all([vg.openTable("b"), vg.load("comparison")]);
    addEventListener("hashchange", draw);
    addEventListener("keydown", onKey);
    vg.$("theme").addEventListener("click", turnTheme);
    vg.$("help").addEventListener("click", help);
    await draw();
    performance.mark("videogen-ready");
  }

  vg.draw = draw;
  start().catch((error) => {
    vg.$("main").replaceChildren(el("p", { class: "note bad" }, `The report cannot be shown: ${error.message}. Make it again with 'videogen report'.`));
  });
}
