"""The report in a headless Chromium, opened from disk."""

from __future__ import annotations

import functools
import json
import sys
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.browser.conftest import Shown, write_report
from tests.browser.large_report import NUM_CLIPS, write_large_report
from tests.shown_run import (
    HOSTILE,
    LARGE_SEED,
    clip_request,
    demo_requests,
    make_run,
    score,
)
from videogen_pipelines.report.build import ReportOptions

pytestmark = pytest.mark.browser

SOON_S = 10.0  # what is asserted; what is measured is printed


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


def ids(shown: Shown) -> list[str | None]:
    return [card.get_attribute("data-id") for card in shown.page.query_selector_all(".card")]


def wait_for_ids(shown: Shown, expected: list[str]) -> None:
    shown.until(
        "wanted => JSON.stringify([...document.querySelectorAll('.card')]"
        ".map(card => card.dataset.id)) === wanted",
        argument=json.dumps(expected, separators=(",", ":")),
    )


def test_clips_play_in_the_gallery(shown: Shown, report: Path) -> None:
    page = shown.open(report)
    assert len(ids(shown)) == 7
    shown.until("document.querySelector('.card video')?.currentTime > 0")
    first = page.evaluate("document.querySelector('.card video').played.length")
    shown.until(
        "[...document.querySelectorAll('.card video')].every(video => video.currentTime > 0)"
    )
    assert first == 1
    assert page.query_selector(".media.lost") is None
    assert "6" in page.inner_text(".figures")
    assert page.inner_text(".state") == "some failed"


def test_search_filters_and_sorting(shown: Shown, report: Path) -> None:
    page = shown.open(report)
    page.fill("#search", "red")
    wait_for_ids(shown, ["red-1", "red-5"])
    assert page.inner_text("#count").startswith("2 of 7 clips")
    page.fill("#search", "square -green guidance_scale=5")
    wait_for_ids(shown, ["red-5", "blue-5"])
    page.fill("#search", '"green square"')
    wait_for_ids(shown, ["green-1", "green-5"])
    page.click("#clear")
    page.click("[data-status=failed]")
    wait_for_ids(shown, ["blue-5"])
    assert "CUDA out of memory" in page.inner_text(".card")
    page.click("[data-status='']")
    page.select_option("#sort", "metric:coherence.score")
    page.wait_for_url("**sort=coherence.score**")
    scores = page.evaluate("vg.listed.rows.map(row => vg.tables.a.metric('coherence.score', row))")
    assert scores[-1] is None  # the failure has none, whichever way
    assert scores[:-1] == sorted(scores[:-1])
    page.click("#turn")
    page.wait_for_url("**dir=desc")
    assert page.evaluate("vg.tables.a.metric('coherence.score', vg.listed.rows[0])") == max(
        scores[:-1]
    )
    page.select_option("#filter-field", "guidance_scale")
    page.select_option("#filter-sign", ">")
    page.fill("#filter-value", "2")
    page.press("#filter-value", "Enter")
    page.wait_for_url("**q=guidance_scale%3E2**")
    assert set(ids(shown)) == {"red-5", "green-5", "blue-5", "hostile"}
    page.go_back()
    assert len(ids(shown)) == 7


def test_the_page_of_a_clip(shown: Shown, report: Path) -> None:
    page = shown.open(report, "#/clip/red-5")
    shown.until("document.querySelector('#player').currentTime > 0.1")
    shown.until(  # the playhead of the curves goes along
        "Number(document.querySelector('.playhead').getAttribute('x1')) > 41"
    )
    assert page.inner_text("h1") == "a red square moving right"
    assert str(LARGE_SEED) in page.inner_text(".terms")
    row = json.loads(page.inner_text("#row"))
    asked = next(request for request in demo_requests() if request.id == "red-5")
    assert row["seed"] == asked.seed  # to the last digit
    assert (row["id"], row["prompt"], row["guidance_scale"]) == ("red-5", asked.prompt, 5.0)
    page.evaluate(
        "Object.defineProperty(navigator, 'clipboard', {value: {writeText: "
        "text => { window.copied = text; return Promise.resolve(); }}})"
    )
    page.click("#copy-row")
    shown.until("window.copied !== undefined")
    assert json.loads(page.evaluate("window.copied")) == row
    assert page.locator(".panel .plot").count() > 10
    for image in ("xt", "yt", "flow"):
        assert page.evaluate(f"document.querySelector('.{image} img').naturalWidth") > 0
    shown.until(  # worst frames are drawn from the video
        "document.querySelector('.worst-frames canvas.here')?.width === 64"
    )
    page.click(".worst-frames .strip >> nth=0")
    assert page.evaluate("document.querySelector('#player').paused")


def test_text_of_a_run_is_never_markup(shown: Shown, report: Path) -> None:
    page = shown.open(report, "#/clip/hostile")
    assert page.inner_text("h1") == HOSTILE
    row = json.loads(page.inner_text("#row"))
    assert row["metadata"] == {"__proto__": {"a": "</script>"}}
    page.goto(page.url.split("#")[0] + "#/?q=%3Cimg")
    shown.until("document.querySelectorAll('.card').length === 1")
    assert page.evaluate("window.hurt") is None
    assert page.query_selector("main img[src=x]") is None
    assert page.evaluate("({}).a") is None


def test_the_keyboard_is_enough(shown: Shown, report: Path) -> None:
    page = shown.open(report)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("square")
    shown.until("document.querySelectorAll('.card').length === 6")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") != "search"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.id") == "red-5"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_selector("#player")
    assert page.url.endswith("#/clip/red-5")
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/clip/green-1")
    page.wait_for_selector("#player")
    page.keyboard.press("Escape")
    page.wait_for_selector(".cards")
    assert page.evaluate("document.activeElement.dataset.id") == "green-1"
    assert page.input_value("#search") == "square"
    page.keyboard.press("?")
    assert page.is_visible("#keys")
    page.keyboard.press("Escape")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("t")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before


def test_pages_about_the_run(shown: Shown, report: Path) -> None:
    page = shown.open(report, "#/metrics")
    assert page.locator("[id='metric-coherence.score'] .plot").count() >= 1
    page.locator("[id='metric-motion.total'] .bar.pick").first.click()
    page.wait_for_selector(".cards")
    assert "motion.total>=" in page.input_value("#search")
    assert 1 <= len(ids(shown)) < 7
    page.click("text=Failures 1")
    assert "CUDA out of memory" in page.inner_text(".failures")
    page.click("nav >> text=Cost")
    page.wait_for_selector("main >> text=denoise")
    page.click("nav >> text=Run")
    page.wait_for_selector("main >> text=prompts.jsonl")
    page.goto(page.url.split("#")[0] + "#/clip/nobody")
    page.wait_for_selector("text=There is no clip")


def test_narrow_screens_do_not_scroll_sideways(shown: Shown, report: Path) -> None:
    shown.page.set_viewport_size({"width": 360, "height": 740})
    page = shown.open(report)
    for route in ("#/", "#/clip/red-5", "#/metrics", "#/cost", "#/failures", "#/run"):
        page.goto(page.url.split("#")[0] + route)
        shown.until("document.querySelector('h1') !== null")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, route


def test_a_copy_without_metrics_lives_anywhere(shown: Shown, run_folder: Path, tmp_path: Path):
    plain = make_run(tmp_path / "plain", demo_requests()[:2])
    made = write_report(plain.root, tmp_path / "made", options=ReportOptions(copy=True))
    moved = made.rename(tmp_path / "moved elsewhere #1")
    plain.root.rename(tmp_path / "gone")
    page = shown.open(moved)
    assert "videogen evaluate" in page.inner_text("#no-metrics")
    shown.until("document.querySelector('.card video')?.currentTime > 0")
    page.goto(page.url.split("#")[0] + "#/metrics")
    page.wait_for_selector("#no-metrics")


def test_a_web_server_may_serve_it(shown: Shown, run_folder: Path, report: Path) -> None:
    handler = functools.partial(QuietHandler, directory=str(run_folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        shown.origin = f"http://127.0.0.1:{server.server_port}/"
        page = shown.visit(f"{shown.origin}report/index.html")
        shown.until("document.querySelector('.card video')?.currentTime > 0")
        page.goto(f"{shown.origin}report/index.html#/clip/red-1")
        shown.until("document.querySelector('#player')?.currentTime > 0")
        page.goto("about:blank")
        server.shutdown()


def test_two_runs_side_by_side(shown: Shown, run_folder: Path, tmp_path: Path) -> None:
    faster = tmp_path / "faster"
    make_run(faster, demo_requests()[:3], shift=1)
    score(faster)
    page = shown.open(write_report(run_folder, tmp_path / "page", compare=faster), "#/compare")
    assert page.locator(".pair").count() == 3
    page.locator(".pairs").scroll_into_view_if_needed()
    shown.until(
        "document.querySelectorAll('.pair video').length === 6 && "
        "[...document.querySelectorAll('.pair video')].every(video => video.currentTime > 0)"
    )
    line = page.inner_text("tr:has-text('motion.total')")
    assert "different" in line or "no difference" in line
    page.click("th >> text=motion.total")
    page.wait_for_url("**sort=motion.total")
    assert page.locator(".pair").count() == 3


def test_runs_that_share_no_id_say_why_no_metric_compares(
    shown: Shown, run_folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    make_run(other, [clip_request("red-other", "a red square")])
    score(other, metrics=["frame.contrast"])
    page = shown.open(write_report(run_folder, tmp_path / "page", compare=other), "#/compare")
    assert "got no id that both have scored" in page.inner_text("p.note >> nth=0")


def test_a_sweep_is_a_grid_with_what_changes_over_an_axis(shown: Shown, tmp_path: Path) -> None:
    requests = [
        clip_request(
            f"{colour}-{seed}.{scale:g}",
            f"a {colour} square moving right",
            seed=seed,
            guidance_scale=scale,
            metadata={"sweep": {"row": f"{colour}-{seed}", "guidance_scale": scale}},
        )
        for colour, seed in (("red", 1), ("red", 2), ("blue", 1))
        for scale in (1.0, 10.0, 5.0)
    ]
    folder = tmp_path / "sweep"
    make_run(folder, requests)
    score(folder, metrics=["text.adherence", "frame.colourfulness"])
    page = shown.open(write_report(folder, tmp_path / "page"), "#/sweep")
    assert page.locator(".grid thead th").all_inner_texts() == ["guidance_scale", "1", "5", "10"]
    assert page.locator(".grid tbody tr").count() == 3
    assert page.locator(".grid td .media").count() == 9
    assert (
        page.locator("main .plot").count() == 5
    )  # two metrics, diversity, device time, the trade-off
    assert "Adherence against diversity" in page.inner_text("main")
    page.locator(".grid").scroll_into_view_if_needed()
    shown.until("document.querySelector('.grid td video')?.currentTime > 0")
    page.click(".grid td a >> nth=4")
    shown.until("document.querySelector('h1')?.textContent === 'a red square moving right'")


def test_a_second_axis_of_a_sweep_is_lines(shown: Shown, tmp_path: Path) -> None:
    points = [(n, sampler) for n in (4, 8, 64) for sampler in ("ddim", "ddpm")]
    requests = [
        clip_request(
            f"{seed}.{steps}.{sampler}",
            "a red square moving right",
            seed=seed,
            num_inference_steps=steps,
            sampler=sampler,
            metadata={"sweep": {"row": str(seed), "steps": steps, "sampler": sampler}},
        )
        for seed in (1, 2)
        for steps, sampler in points
    ]
    folder = tmp_path / "sweep"
    make_run(folder, requests)
    options = ReportOptions(pictures=False)
    page = shown.open(write_report(folder, tmp_path / "page", options=options), "#/sweep")
    assert page.locator(".legend span").all_inner_texts() == ["ddim", "ddpm"]
    plot = page.locator(".panel:has-text('diversity') .plot").first
    assert plot.locator("circle").count() == 6
    assert plot.locator(".line").count() == 2
    places = [float(place) for place in plot.locator(".tick[text-anchor=middle]").evaluate_all(
        "ticks => ticks.map(tick => tick.getAttribute('x'))"
    )]  # fmt: skip
    assert places[2] - places[1] == pytest.approx(3 * (places[1] - places[0]))  # doublings
    assert page.locator(".grid td .media").count() == 6
    page.select_option("[data-axis=sampler]", "ddpm")
    page.wait_for_url("**at.sampler=ddpm**")
    page.click(".grid td a >> nth=2")
    shown.until("document.querySelector('main').innerText.includes('1.64.ddpm')")


def test_ten_thousand_clips_stay_usable(shown: Shown, report: Path, tmp_path: Path) -> None:
    large = write_large_report(report, tmp_path / "large")
    page = shown.open(large)
    painted_ms = page.evaluate(
        "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"
    )
    ready_ms = page.evaluate("performance.getEntriesByName('videogen-ready')[0].startTime")
    assert page.locator(".card").count() == 48
    assert f"{NUM_CLIPS:,} clips" in page.inner_text("#count")
    timed = (
        "(hash) => { const start = performance.now(); vg.go('', hash); "
        "document.body.offsetHeight; return performance.now() - start; }"
    )
    times = {
        name: page.evaluate(timed, query)
        for name, query in {
            "search": {"q": "red"},
            "filter": {"q": "coherence.score<0.5"},
            "sort by metric": {"sort": "motion.total"},
            "sort by prompt": {"sort": "prompt"},
            "last page": {"page": "209"},
        }.items()
    }
    told = [f"first paint {painted_ms:.0f} ms", f"drawn {ready_ms:.0f} ms"]
    told += [f"{name} {ms:.0f} ms" for name, ms in times.items()]
    sys.stdout.write(f"\n{NUM_CLIPS:,} clips: {', '.join(told)}\n")
    assert ids(shown)[-1] == f"clip-{NUM_CLIPS - 1:05d}"
    assert ready_ms / 1000 < SOON_S
    assert max(times.values()) / 1000 < SOON_S / 2
    started = time.monotonic()
    page.fill("#search", f"clip-{NUM_CLIPS // 2:05d}")
    shown.until("document.querySelectorAll('.card').length === 1")
    assert time.monotonic() - started < SOON_S
