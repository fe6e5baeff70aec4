// The page of one clip: the video, its worst frames, curves, slices, settings and history.
"use strict";

vg.clip = (() => {
  const { el } = vg;
  const WORST = 4;

  // Draws frames of a video onto canvases, one after the other.
  async function grab(src, fps, wanted) {
    const video = el("video", { src, muted: true, preload: "auto", playsinline: true });
    video.muted = true;
    const ready = (event) => new Promise((resolve, reject) => {
      video.addEventListener(event, resolve, { once: true });
      video.addEventListener("error", reject, { once: true });
    });
    if (video.readyState < 2) await ready("loadeddata");
    for (const { frame, canvas } of wanted) {
      const arrived = ready("seeked");
      video.currentTime = (frame + 0.5) / fps;
      await arrived;
      canvas.width = video.videoWidth;
      canvas.height = video.videoHeight;
      canvas.getContext("2d").drawImage(video, 0, 0);
    }
    video.removeAttribute("src");
    video.load();
  }

  function player(table, row, fps, frames) {
    const poster = table.picture(row, "poster");
    const video = el("video", { id: "player", class: (table.get("width", row) ?? 0) < 160 ? "small" : null, src: table.video(row), poster, controls: true, loop: true, playsinline: true, preload: "auto", "aria-label": table.get("prompt", row) ?? table.get("id", row) });
    video.muted = true;
    video.style.aspectRatio = `${table.get("width", row) ?? 1} / ${table.get("height", row) ?? 1}`;
    video.addEventListener("error", () => video.replaceWith(el("p", { class: "note" }, "The clip cannot be played: its file is not where the run left it, or this browser has no decoder for it.")));
    video.play().catch(() => {});
    const counter = el("output", { class: "frame", id: "frame" }, "frame 0");
    const frameNow = () => Math.min(frames - 1, Math.floor(video.currentTime * fps + 1e-3));
    const seek = (frame) => { video.pause(); video.currentTime = (Math.min(frames - 1, Math.max(0, frame)) + 0.5) / fps; };
    const step = (by) => el("button", { type: "button", "aria-label": by < 0 ? "One frame back" : "One frame on", title: by < 0 ? "One frame back (,)" : "One frame on (.)", onclick: () => seek(frameNow() + by) }, by < 0 ? "‹ frame" : "frame ›");
    const rate = el("select", { "aria-label": "Speed", onchange: (event) => { video.playbackRate = Number(event.target.value); } }, [["1", "1×"], ["0.5", "½×"], ["0.25", "¼×"]].map(([v, t]) => vg.option(v, t, "1")));
    return { video, seek, frameNow, counter, controls: el("div", { class: "controls" }, step(-1), step(1), rate, counter) };
  }

  const isFlat = (details, { name }) => { const [low, high] = vg.plot.extent(details.curves[name].values); return low === high; };

  // Metrics in which this clip is among the worst of its run, the most telling first.
  function suspects(table, row, details) {
    return table.metrics
      .filter((metric) => metric.direction !== "info" && details.curves[metric.name] && !isFlat(details, metric))
      .map((metric) => ({ metric, rank: table.badness(metric.name, row) ?? 1 }))
      .filter(({ rank }) => rank > 0)
      .sort((a, b) => b.rank - a.rank);
  }

  function worstFrames(table, row, details, fps, frames, seek) {
    const chosen = [];
    for (const { metric } of suspects(table, row, details)) {
      const frame = details.worst_frame[metric.name];
      const near = chosen.find((other) => Math.abs(other.frame - frame) <= 1);
      if (near) near.names.push(metric.name);
      else if (chosen.length < WORST) chosen.push({ frame, names: [metric.name] });
    }
    if (!chosen.length) return null;
    const wanted = [];
    const figures = chosen.map(({ frame, names }) => {
      const first = Math.max(0, Math.min(frame - 1, frames - 3));
      const strip = [first, first + 1, first + 2].filter((f) => f < frames).map((f) => {
        const canvas = el("canvas", { class: f === frame ? "here" : "", width: 16, height: 16, role: "img", "aria-label": `frame ${f}` });
        canvas.style.aspectRatio = `${table.get("width", row) ?? 1} / ${table.get("height", row) ?? 1}`;
        wanted.push({ frame: f, canvas });
        return canvas;
      });
      const named = names.slice(0, 2).join(", ") + (names.length > 2 ? ` and ${names.length - 2} more` : "");
      return el("figure", {}, el("button", { type: "button", class: "strip", title: `Go to frame ${frame}`, onclick: () => seek(frame) }, strip), el("figcaption", { title: names.join(", ") }, el("b", {}, `Frame ${frame}`), ` worst in ${named}`));
    });
    const section = el("section", {}, el("h2", {}, "Worst frames"), el("p", { class: "hint" }, "With their neighbours; of the metrics in which this clip does worst within its run."), el("div", { class: "worst-frames" }, figures));
    const src = table.video(row);
    if (src) grab(src, fps, wanted).catch(() => section.remove());
    return section;
  }

  function slices(table, row) {
    const kinds = [
      ["xt", "x–t slice", "One row of pixels over time, downwards: smooth lines are steady motion, steps are jumps, stripes are flicker."],
      ["yt", "y–t slice", "The same for one column of pixels, so that what moves up and down shows too."],
      ["flow", "Flow", "Between pairs of frames spread over the clip: hue is the direction, brightness the speed, black is still."],
    ];
    const figures = kinds.map(([kind, title, about]) => {
      const src = table.picture(row, kind);
      if (!src) return null;
      const figure = el("figure", { class: kind }, el("img", { src, alt: `${title} of ${table.get("id", row)}`, loading: "lazy" }), el("figcaption", {}, el("b", {}, title), ` ${about}`));
      figure.querySelector("img").addEventListener("error", () => figure.remove());
      return figure;
    }).filter(Boolean);
    return figures.length ? el("section", {}, el("h2", {}, "Through time"), el("div", { class: "slices" }, figures)) : null;
  }

  function metricTable(table, row, details, seek) {
    if (!table.metrics.length) return vg.noMetrics(table);
    const rows = table.metrics.map((metric) => {
      const value = table.metric(metric.name, row);
      const worst = details.worst_frame[metric.name];
      const bad = table.badness(metric.name, row);
      if (value === null) {
        return el("tr", { class: "absent" }, el("th", { scope: "row", title: metric.about }, metric.name), el("td", { colspan: 4 }, details.skipped[metric.name] ?? "not measured"));
      }
      const meter = bad === null ? null : el("meter", { min: 0, max: 1, low: 0.5, high: 0.9, optimum: 0, value: bad, title: `${Math.round(bad * 100)} % of the run's clips are better` });
      return el("tr", {}, el("th", { scope: "row", title: `${metric.about} (${vg.better(metric.direction)})` }, metric.name, " ", el("span", { class: "dim" }, vg.arrow(metric.direction))),
        el("td", {}, vg.number(value), " ", el("span", { class: "dim" }, metric.unit === "0-1" ? "" : metric.unit)), el("td", {}, vg.number(details.p95[metric.name] ?? null)),
        el("td", {}, worst === undefined ? "" : el("button", { type: "button", class: "plain", "aria-label": `Go to frame ${worst}`, onclick: () => seek(worst) }, `${worst}`)), el("td", {}, meter));
    });
    return el("section", {}, el("h2", {}, "Metrics"), details.not_scored ? el("p", { class: "note bad" }, details.not_scored) : null,
      el("div", { class: "scroll" }, el("table", { class: "metrics" }, el("thead", {}, el("tr", {}, ["metric", "value", "p95", "worst frame", "against the run"].map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, rows))));
  }

  function curves(table, details, frames, seek, heads) {
    const known = table.metrics.filter((metric) => details.curves[metric.name]);
    const flat = known.filter((metric) => isFlat(details, metric));
    const found = known.filter((metric) => !flat.includes(metric));
    if (!known.length) return null;
    const plots = found.map((metric) => {
      const plot = vg.plot.curve(details.curves[metric.name], { label: `${metric.name} per frame`, worst: metric.direction === "info" ? null : details.worst_frame[metric.name], frames, onpick: seek });
      heads.push(plot);
      return el("figure", { class: "panel" }, el("figcaption", { title: metric.about }, el("b", {}, metric.name), " ", el("span", { class: "dim" }, `${metric.unit} ${vg.arrow(metric.direction)}`)), plot);
    });
    return el("section", {}, el("h2", {}, "Per frame"), el("p", { class: "hint" }, "Click a curve to go to that frame; the dashed line is the worst one."), el("div", { class: "panels" }, plots), flat.length ? el("p", { class: "hint" }, `The same at every frame: ${flat.map((metric) => metric.name).join(", ")}.`) : null);
  }

  function history(made) {
    if (!made.tries) return null;
    const { tries, chosen, accept } = made.tries;
    const names = Object.keys(accept);
    return el("section", {}, el("h2", {}, "Tries"), el("p", { class: "hint" }, `Accepted if ${names.map((name) => `${name} ${accept[name]}`).join(" and ")}.`),
      el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ["try", "seed", ...names, "held against it"].map((name) => el("th", { scope: "col" }, name)))),
        el("tbody", {}, tries.map((one) => el("tr", { class: one.number === chosen ? "chosen" : null }, el("td", {}, `${one.number}${one.number === chosen ? " ✓" : ""}`), el("td", {}, el("code", {}, String(one.seed))), names.map((name) => el("td", {}, vg.number(one.metrics[name] ?? null))), el("td", {}, one.complaints.join("; ") || "nothing")))))));
  }

  function settings(table, row, details) {
    const cell = (name) => { const value = table.get(name, row); return typeof value === "number" ? vg.number(value, 5) : value; };
    const code = (text) => (text ? el("code", {}, text) : null);
    const seed = table.get("seed", row);
    const made = details.made;
    const names = ["negative_prompt", "size", "num_frames", "fps", "duration_s", "num_inference_steps", "guidance_scale", "sampler", "flow_shift", "extension", "gpu_s", "denoise_s", "decode_s", "encode_s", "commit_s", "attempts", "device", "node"];
    return el("section", {}, el("h2", {}, "Settings and cost"), vg.terms([
      ["Seed", seed && el("span", {}, code(seed), " ", el("button", { type: "button", class: "plain", onclick: () => vg.copy(seed, "Seed") }, "copy"))],
      ...table.run.axes.map((axis) => [`Sweep: ${axis}`, cell(`axis:${axis}`)]),
      ...names.map((name) => [vg.label(name), cell(name)]),
      ["File", table.get("bytes", row) ? `${vg.bytes(table.get("bytes", row))}, ${made.codec ?? ""}` : null],
      ["Made", made.created_at ? vg.when(made.created_at) : null],
      ["Chunks", made.chunks ? `${made.chunks.count}, ${made.chunks.method}` : null],
      ["Ranks", made.parallel ? `${made.parallel.seq_degree} sequence × ${made.parallel.cfg_degree} guidance` : null],
      ["Model", made.model ? el("span", {}, made.model.name, " ", code(made.model.digest.slice(0, 12))) : null],
      ["Clip id", code(made.clip_id)], ["SHA-256", code(made.sha256)],
      ["Versions", made.versions ? Object.entries(made.versions).map(([name, v]) => `${name} ${v}`).join(", ") : null],
      ["Warnings", made.warnings?.length ? made.warnings.join("; ") : null],
    ]));
  }

  function repeat(details) {
    if (!details.row) return null;
    return el("section", {}, el("h2", {}, "Make it again"), el("p", { class: "hint" }, "Save this line as again.jsonl, then: videogen generate again.jsonl --out again"), el("pre", { id: "row", tabindex: "0" }, details.row));
  }

  function neighbours(table, row) {
    const rows = vg.listed?.rows ?? Array.from({ length: table.count }, (_, i) => i);
    const place = rows.indexOf(row);
    const at = (i) => (place >= 0 && rows[i] !== undefined ? vg.gallery.href(table, rows[i]) : null);
    return { place, count: rows.length, previous: at(place - 1), next: at(place + 1) };
  }

  function top(table, row, details, around) {
    const back = vg.hash("", vg.listed?.query ?? {});
    const move = (href, text, id) => el("a", { class: href ? "button" : "button off", href, id, "aria-disabled": href ? null : "true" }, text);
    return el("div", { class: "crumbs" }, el("a", { class: "button", href: back, id: "back" }, "‹ All clips"), move(around.previous, "←", "previous"), move(around.next, "→", "next"),
      around.place >= 0 ? el("span", { class: "dim" }, `${(around.place + 1).toLocaleString("en")} of ${around.count.toLocaleString("en")}`) : null,
      details.row ? el("button", { type: "button", class: "primary", id: "copy-row", title: "The line of a manifest that makes this clip again (c)", onclick: () => vg.copy(details.row, "Row") }, "Copy row") : null);
  }

  async function show(main, table, id) {
    const row = table.rowOf(id);
    if (row === undefined) {
      main.replaceChildren(el("p", { class: "note" }, "There is no clip ", el("code", {}, id), " in this report. ", el("a", { href: "#/" }, "All clips")));
      return;
    }
    const details = await table.details(row);
    if (vg.route().parts[1] !== id) return; // somebody went on meanwhile
    const status = table.get("status", row), src = table.video(row);
    const fps = table.get("fps", row) ?? 12, frames = table.get("num_frames", row) ?? 1;
    const around = neighbours(table, row);
    const title = el("h1", { tabindex: "-1" }, table.get("prompt", row) ?? id);
    const under = el("p", { class: "under" }, el("code", {}, id), status === "done" ? vg.gallery.badges(table, row) : el("span", { class: `state ${status}` }, status));
    const heads = [];
    const play = src ? player(table, row, fps, frames) : null;
    const seek = play ? play.seek : () => {};
    const failed = status === "failed" ? el("section", { class: "note bad" }, el("h2", {}, table.get("error_class", row) ?? "failed"), el("p", { class: "reason" }, table.get("error_message", row) ?? ""), el("p", { class: "dim" }, `after ${vg.plural(table.get("attempts", row) ?? 0, "attempt")}`)) : null;
    const left = el("div", { class: "side" }, play ? [play.video, play.controls] : el("div", { class: "media none" }, el("strong", {}, status)), slices(table, row));
    const right = el("div", { class: "main" }, failed, src ? worstFrames(table, row, details, fps, frames, seek) : null, history(details.made), src ? metricTable(table, row, details, seek) : null);
    main.replaceChildren(...[top(table, row, details, around), title, under, el("div", { class: "columns" }, left, right), curves(table, details, frames, seek, heads),
      el("div", { class: "halves" }, settings(table, row, details), repeat(details))].filter(Boolean));
    if (play) follow(play, heads);
    vg.keysOf = keys(play, details, around);
  }

  // Moves the playheads with the video, while its page is there.
  function follow(play, heads) {
    let last = -1;
    const tick = () => {
      if (!play.video.isConnected) return;
      const frame = play.frameNow();
      if (frame !== last) {
        last = frame;
        play.counter.textContent = `frame ${frame}`;
        for (const head of heads) head.at(frame);
      }
      requestAnimationFrame(tick);
    };
    tick();
  }

  function keys(play, details, around) {
    return {
      ArrowLeft: () => { if (around.previous) location.hash = around.previous; },
      ArrowRight: () => { if (around.next) location.hash = around.next; },
      Escape: () => { location.hash = vg.hash("", vg.listed?.query ?? {}); },
      " ": () => play && (play.video.paused ? play.video.play() : play.video.pause()),
      ",": () => play?.seek(play.frameNow() - 1),
      ".": () => play?.seek(play.frameNow() + 1),
      c: () => details.row && vg.copy(details.row, "Row"),
    };
  }

  return { show };
})();
