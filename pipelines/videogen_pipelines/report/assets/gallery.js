// The gallery: search, filters, sorting, pages of cards whose clips play while they are seen.
"use strict";

vg.gallery = (() => {
  const { el } = vg;
  const PAGE = 48;
  const MOST_PLAYING = 24;

  // Playing: those in view, muted; or only the one under the pointer or focus.
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let autoplay = (vg.remembered("autoplay") ?? (calm ? "no" : "yes")) === "yes";
  let unfolded = false; // filters on a narrow screen
  const seen = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) seen.add(entry.target); else { seen.delete(entry.target); stop(entry.target); }
    }
    if (autoplay) for (const media of [...seen].slice(0, MOST_PLAYING)) play(media);
  }, { rootMargin: "40px" });

  function play(media) {
    let video = media.querySelector("video");
    if (!video) {
      video = el("video", { src: media.dataset.video, muted: true, loop: true, playsinline: true, preload: "auto", tabindex: "-1", "aria-hidden": "true" });
      video.muted = true;
      video.addEventListener("playing", () => video.classList.add("shown"), { once: true });
      video.addEventListener("error", () => media.classList.add("lost"), { once: true });
      media.append(video);
    }
    video.play().catch(() => {}); // the browser may refuse or be interrupted; the poster stays
  }

  function stop(media) {
    const video = media.querySelector("video");
    if (!video) return;
    video.pause();
    video.removeAttribute("src");
    video.load(); // frees the decoder
    video.remove();
  }

  // The moving picture of a clip, for any page.
  function media(table, row) {
    const src = table.video(row);
    const width = table.get("width", row) ?? 1, height = table.get("height", row) ?? 1;
    const box = el("div", { class: width < 160 ? "media small" : "media" });
    box.style.aspectRatio = `${width} / ${height}`;
    if (!src) return box;
    box.dataset.video = src;
    const poster = table.picture(row, "poster");
    if (poster) box.append(el("img", { src: poster, alt: "", loading: "lazy", decoding: "async" }));
    watcher.observe(box);
    box.addEventListener("pointerenter", () => play(box));
    box.addEventListener("pointerleave", () => { if (!autoplay) stop(box); });
    return box;
  }

  // The numbers on a card: coherence never without motion, and what the cards are sorted by.
  function badges(table, row, sort) {
    const names = ["coherence.score", "motion.total"].filter((name) => table.has(`metric:${name}`));
    const chosen = sort?.startsWith("metric:") ? sort.slice(7) : null;
    if (chosen && !names.includes(chosen)) names.unshift(chosen);
    const found = names.map((name) => [name.replace(/\.(score|total)$/, ""), vg.number(table.metric(name, row)), table.about.get(name)?.about]);
    if (sort && sort !== "order" && !chosen && !["id", "prompt"].includes(sort)) {
      const value = table.get(sort, row);
      const text = sort === "created_at" && value ? vg.when(value * 1000) : typeof value === "number" ? vg.number(value) : value;
      found.unshift([vg.label(sort).toLowerCase(), text ?? "–", ""]);
    }
    return found.map(([name, text, about]) => el("span", { class: "badge", title: about }, `${name} `, el("b", {}, text)));
  }

  const href = (table, row) => `#/clip/${encodeURIComponent(table.get("id", row))}`;

  function card(table, row, sort) {
    const id = table.get("id", row), prompt = table.get("prompt", row), status = table.get("status", row);
    const link = el("a", { class: `card ${status}`, href: href(table, row), "data-id": id, "aria-label": `${prompt ?? id}${status === "done" ? "" : `, ${status}`}` });
    if (status === "done") link.append(media(table, row));
    else link.append(el("div", { class: "media none" }, el("strong", {}, status), el("span", {}, table.get("error_class", row) ?? "not made yet"), el("small", {}, table.get("error_message", row) ?? "")));
    link.append(el("div", { class: "caption" },
      el("p", { class: "prompt", title: prompt }, prompt ?? id),
      el("p", { class: "under" }, el("code", {}, prompt ? id : ""), status === "done" ? badges(table, row, sort) : null)));
    link.addEventListener("focus", () => { const box = link.querySelector(".media[data-video]"); if (box) play(box); });
    return link;
  }

  // Every column to sort or filter by, in groups.
  function fields(table) {
    const clip = ["order", "id", "prompt", "status", "seed", "size", "num_frames", "fps", "duration_s", "created_at"];
    const settings = ["num_inference_steps", "guidance_scale", "sampler", "flow_shift", "extension"];
    const cost = ["gpu_s", "denoise_s", "decode_s", "encode_s", "commit_s", "bytes", "attempts", "tries", "node"];
    const known = (names) => names.filter((name) => name === "order" || table.has(name)).map((name) => [name, vg.label(name)]);
    const metrics = table.metrics.map((metric) => [`metric:${metric.name}`, `${metric.name} ${vg.arrow(metric.direction)}`]);
    const axes = table.run.axes.filter((name) => table.has(`axis:${name}`)).map((name) => [`axis:${name}`, name]);
    return [["Metrics", metrics], ["Sweep", axes], ["Clip", known(clip)], ["Settings", known(settings)], ["Cost", known(cost)]].filter(([, list]) => list.length);
  }

  function choice(table, chosen, attributes) {
    return el("select", attributes, fields(table).map(([group, list]) =>
      el("optgroup", { label: group }, list.map(([value, text]) => vg.option(value, text, chosen)))));
  }

  const short = (name) => name.replace(/^(metric|axis):/, "");

  function toolbar(table, query) {
    const go = (change) => vg.go("", { ...query, page: "", ...change });
    const search = el("input", { type: "search", id: "search", placeholder: "Search prompts and ids, or coherence.score<0.8", autocomplete: "off", spellcheck: "false", "aria-label": "Search prompts and ids" });
    search.value = query.q ?? "";
    let timer = 0;
    search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(() => go({ q: search.value }), 60); });
    const sort = table.resolve(query.sort ?? "order") ?? "order";
    const down = (query.dir || table.direction(sort)) === "desc";
    const sorting = choice(table, sort, { id: "sort", "aria-label": "Sort by", onchange: (event) => go({ sort: short(event.target.value), dir: "" }) });
    const turn = el("button", { type: "button", id: "turn", "aria-label": down ? "Descending; turn round" : "Ascending; turn round", title: down ? "Descending" : "Ascending", onclick: () => go({ dir: down ? "asc" : "desc" }) }, down ? "↓" : "↑");
    const moving = el("button", { type: "button", id: "autoplay", "aria-pressed": String(autoplay), title: "Play all clips in view, or only the one pointed at", onclick: (event) => {
      autoplay = !autoplay;
      vg.remember("autoplay", autoplay ? "yes" : "no");
      event.currentTarget.setAttribute("aria-pressed", String(autoplay));
      for (const box of seen) if (autoplay) play(box); else stop(box);
    } }, "Play all");
    const fold = el("button", { type: "button", class: "fold", "aria-expanded": String(unfolded), onclick: () => {
      unfolded = !unfolded;
      bar.classList.toggle("open", unfolded);
      fold.setAttribute("aria-expanded", String(unfolded));
    } }, "Filters");
    const bar = el("div", { class: unfolded ? "toolbar open" : "toolbar" }, el("div", { class: "row" }, search, states(table, query, go)),
      el("div", { class: "row" }, el("label", {}, "Sort ", sorting), turn, fold, el("div", { class: "folds" }, adder(table, query, go), facets(table, query, go)), moving));
    return bar;
  }

  function states(table, query, go) {
    const words = table.words("status");
    const counts = new Map(words.map((word) => [word, 0]));
    for (const value of table.columns.get("status").values) counts.set(words[value], counts.get(words[value]) + 1);
    const names = ["", "done", "failed", "pending"].filter((name) => !name || counts.has(name));
    return el("div", { class: "segments", role: "group", "aria-label": "Status" }, names.map((name) =>
      el("button", { type: "button", "data-status": name, "aria-pressed": String((query.status ?? "") === name), onclick: () => go({ status: name }) },
        name ? name[0].toUpperCase() + name.slice(1) : "All", " ", el("small", {}, (name ? counts.get(name) : table.count).toLocaleString("en")))));
  }

  // Composes a condition; what it makes stands in the search field, where it can be read and changed.
  function adder(table, query, go) {
    const field = choice(table, table.metrics.length ? `metric:${table.metrics[0].name}` : "guidance_scale", { id: "filter-field", "aria-label": "Filter by" });
    const sign = el("select", { id: "filter-sign", "aria-label": "Condition" }, [["<", "<"], ["<=", "≤"], [">", ">"], [">=", "≥"], ["=", "="]].map(([value, text]) => vg.option(value, text, "<")));
    const value = el("input", { id: "filter-value", size: "6", "aria-label": "Value", placeholder: "value" });
    const form = el("form", { class: "adder", "aria-label": "Add a filter", onsubmit: (event) => {
      event.preventDefault();
      if (!value.value.trim()) return value.focus();
      const added = `${short(field.value)}${sign.value}${value.value.trim().replace(/\s+/g, "")}`;
      return go({ q: `${query.q ?? ""} ${added}`.trim() });
    } }, "Filter ", field, sign, value, el("button", { type: "submit" }, "Add"));
    return form;
  }

  // A choice for each setting that takes a few values in this run.
  function facets(table, query, go) {
    const names = [...table.run.axes.map((name) => `axis:${name}`), "sampler", "guidance_scale", "num_inference_steps", "size", "error_class"];
    const taken = new Set(table.run.axes);
    return names.filter((name) => table.has(name) && !taken.has(name)).map((name) => {
      const column = table.columns.get(name);
      const found = column.words ?? [...new Set(column.values.filter((v) => v !== null))].sort((a, b) => a - b);
      if (found.length < 2 || found.length > 24) return null;
      const start = `${short(name)}=`;
      const token = vg.tokens(query.q ?? "").find(({ text }) => text.startsWith(start));
      const chosen = token ? token.text.slice(start.length) : "";
      return el("select", { "aria-label": vg.label(name), "data-facet": short(name), onchange: (event) => {
        const rest = (query.q ?? "").split(/\s+/).filter((word) => !word.startsWith(start));
        if (event.target.value) rest.push(start + event.target.value);
        go({ q: rest.join(" ").trim() });
      } }, vg.option("", `${vg.label(name)}: any`, chosen), found.map((word) => vg.option(String(word), String(word), chosen)));
    });
  }

  function pager(query, page, pages, go) {
    if (pages < 2) return null;
    const to = (number, text, name, off) => el("button", { type: "button", "data-page": name, disabled: off, "aria-label": name, onclick: () => go(number) }, text);
    const number = el("input", { type: "number", min: 1, max: pages, value: page, "aria-label": "Page", onchange: (event) => go(Math.min(pages, Math.max(1, Number(event.target.value) || 1))) });
    return el("nav", { class: "pager", "aria-label": "Pages of clips" }, to(1, "«", "first page", page === 1), to(page - 1, "‹ Previous", "previous page", page === 1), number, `of ${pages.toLocaleString("en")}`, to(page + 1, "Next ›", "next page", page === pages), to(pages, "»", "last page", page === pages));
  }

  function results(table, query, rows) {
    const pages = Math.max(1, Math.ceil(rows.length / PAGE));
    const page = Math.min(pages, Math.max(1, Number(query.page) || 1));
    const shown = rows.slice((page - 1) * PAGE, page * PAGE);
    const go = (number) => { vg.go("", { ...query, page: number > 1 ? String(number) : "" }); scrollTo({ top: 0 }); };
    const sort = table.resolve(query.sort ?? "order");
    const narrowed = rows.length < table.count;
    const count = el("p", { class: "count", id: "count", "aria-live": "polite" },
      narrowed ? `${rows.length.toLocaleString("en")} of ${vg.plural(table.count, "clip")}` : vg.plural(table.count, "clip"),
      narrowed ? el("button", { type: "button", class: "plain", id: "clear", onclick: () => vg.go("", {}) }, "Show all") : null);
    const cards = el("div", { class: "cards", id: "cards" }, shown.map((row) => card(table, row, sort)));
    const empty = el("p", { class: "note" }, "No clip fits. ", el("button", { type: "button", onclick: () => vg.go("", {}) }, "Show all"));
    return el("div", { id: "results" }, el("div", { class: "above" }, count, pager(query, page, pages, go)), shown.length ? cards : empty, el("div", { class: "above" }, el("span"), pager(query, page, pages, go)));
  }

  // Draws the page, or only its results while somebody types into its search field.
  function show(main, table, query) {
    seen.clear();
    watcher.disconnect();
    const rows = table.select(query);
    vg.listed = { rows, query };
    const old = main.querySelector("#results");
    const typing = document.activeElement?.id === "search" && old;
    const found = results(table, query, rows);
    if (typing) { old.replaceWith(found); return; }
    const focused = document.activeElement?.id;
    main.replaceChildren(...[vg.head(table), toolbar(table, query), found].filter(Boolean));
    if (focused && focused !== "main") vg.$(focused)?.focus({ preventScroll: true });
  }

  // A button that starts all clips of a page at their first frame.
  const together = (main) => el("button", { type: "button", onclick: () => {
    for (const video of main.querySelectorAll("video")) { video.currentTime = 0; video.play().catch(() => {}); }
  } }, "Start together");

  return { show, media, badges, href, choice, together };
})();
