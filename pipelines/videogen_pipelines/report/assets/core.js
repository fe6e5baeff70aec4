// What every page uses: data loaded as scripts, elements made without markup, numbers for people.
"use strict";

const vg = {};

// Data -------------------------------------------------------------------------------------------
// A page opened from disk may not fetch files, so data come as scripts that call `videogenData`.
{
  const loaded = new Map(); // name -> promise
  const waiting = new Map(); // name -> resolve

  window.videogenData = (name, text) => {
    const value = JSON.parse(text);
    waiting.get(name)?.(value);
  };

  vg.load = (name) => {
    if (!loaded.has(name)) {
      loaded.set(name, new Promise((resolve, reject) => {
        waiting.set(name, resolve);
        const script = document.createElement("script");
        script.src = `data/${name}.js`;
        script.onerror = () => { loaded.delete(name); reject(new Error(`data/${name}.js is missing`)); };
        document.head.append(script);
      }));
    }
    return loaded.get(name);
  };
}

// Elements ---------------------------------------------------------------------------------------
// Text goes in as text nodes and attributes only: nothing from a run is ever read as markup.
const SVG = "http://www.w3.org/2000/svg";
const isLink = (value) => { try { return new URL(value, document.baseURI).protocol === location.protocol; } catch { return false; } };

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if ((name === "href" || name === "src") && !isLink(value)) continue;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

vg.el = (tag, attributes, ...children) => filled(document.createElement(tag), attributes, children);
vg.svg = (tag, attributes, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);
vg.$ = (id) => document.getElementById(id);
vg.path = (key) => key.split("/").map(encodeURIComponent).join("/");

// Numbers ----------------------------------------------------------------------------------------
vg.number = (value, digits = 3) => {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return value.toLocaleString("en");
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return size < 1e-4 ? value.toExponential(1) : String(Number(value.toPrecision(digits)));
};

vg.bytes = (count) => {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) { count /= 1000; unit += 1; }
  return `${unit ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
};

vg.seconds = (s) => {
  if (s === null || s === undefined) return "–";
  if (s < 60) return `${s < 10 ? Number(s.toPrecision(2)) : s.toFixed(1)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(Math.round(s % 60)).padStart(2, "0")} s`;
  return `${Math.floor(s / 3600).toLocaleString("en")} h ${String(Math.round((s % 3600) / 60)).padStart(2, "0")} min`;
};

vg.when = (value) => new Date(value).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
vg.plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
vg.arrow = (direction) => ({ higher: "↑", lower: "↓" })[direction] ?? "";
vg.better = (direction) => ({ higher: "higher is better", lower: "lower is better" })[direction] ?? "neither way is better";

vg.FIELDS = {
  order: "Order of the manifest", id: "Id", prompt: "Prompt", seed: "Seed", status: "Status",
  size: "Size", num_frames: "Frames", fps: "Frames per second", duration_s: "Length (s)",
  width: "Width (px)", height: "Height (px)", num_inference_steps: "Steps", guidance_scale: "Guidance scale",
  flow_shift: "Flow shift", sampler: "Sampler", extension: "Extension", negative_prompt: "Negative prompt",
  bytes: "File size (bytes)", attempts: "Attempts", tries: "Tries until accepted", gpu_s: "Device time (s)",
  denoise_s: "Denoising (s)", decode_s: "Decoding (s)", encode_s: "Encoding (s)", commit_s: "Storing (s)",
  created_at: "Time of making", device: "Device", node: "Node", error_class: "Kind of failure",
  error_message: "Reason of failure", sweep_row: "Row of the sweep",
};
vg.label = (name) => vg.FIELDS[name] ?? name.replace(/^(metric|axis):/, "");

// Small parts ------------------------------------------------------------------------------------
vg.tell = (text) => {
  vg.$("told").textContent = text;
  vg.$("told").classList.add("shown");
  clearTimeout(vg.telling);
  vg.telling = setTimeout(() => vg.$("told").classList.remove("shown"), 2500);
};

vg.copy = async (text, what) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // pages that are not https may not use the clipboard: select and copy as of old
    const area = vg.el("textarea", { class: "offscreen", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  vg.tell(`${what} copied`);
};

vg.remember = (name, value) => { try { localStorage.setItem(`videogen.${name}`, value); } catch { /* private */ } };
vg.remembered = (name) => { try { return localStorage.getItem(`videogen.${name}`); } catch { return null; } };

vg.option = (value, text, chosen) => vg.el("option", { value, selected: value === chosen }, text);
vg.terms = (pairs) => vg.el("dl", { class: "terms" }, pairs
  .filter(([, value]) => value !== null && value !== undefined && value !== "")
  .map(([name, value]) => [vg.el("dt", {}, name), vg.el("dd", {}, value)]));

{
  const theme = vg.remembered("theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
}
