from __future__ import annotations

import re

import pytest

from tests.shown_run import handed_over
from videogen.storage import LocalStorage
from videogen_pipelines.report.bundle import Bundle, as_script, assets

EXTERNAL = re.compile(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]", re.IGNORECASE)
NAMESPACE = "http://www.w3.org/2000/svg"


@pytest.mark.parametrize(
    "text",
    ["</script>", "<!--", "\u2028\u2029", "'\"\\", "é 日本", "\x00\x07", "${x}`", "__proto__"],
)
def test_any_text_survives_and_none_is_code(text: str):
    script = as_script("a/rows", {text: [text]})
    assert script.isascii()
    assert "<" not in script
    assert handed_over(script) == ("a/rows", {text: [text]})


def test_numbers_that_are_none_are_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_script("x", float("nan"))


def test_pages_load_nothing_from_elsewhere_and_make_no_markup_of_data():
    found = {name: content.decode() for name, content in assets()}
    assert {"index.html", "style.css", "core.js", "app.js"} <= found.keys()
    for name, content in found.items():
        assert EXTERNAL.findall(content.replace(NAMESPACE, "")) == [], name
        for forbidden in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ):
            assert forbidden not in content, name
    policy = found["index.html"].split('Content-Security-Policy" content="')[1].split('"')[0]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for name in re.findall(r'(?:src|href)="([\w.]+\.(?:js|css|svg))"', found["index.html"]):
        assert name in found


def test_the_index_is_written_last(tmp_path):
    class Ordered(LocalStorage):
        written: list[str]

        def put(self, key, data):
            super().put(key, data)
            self.written.append(key)

    storage = Ordered(tmp_path)
    storage.written = []
    bundle = Bundle(storage)
    bundle.write_data("a/rows", [])
    assert bundle.finish() == f"{tmp_path}/index.html"
    assert storage.written[0] == "data/a/rows.js"
    assert storage.written[-1] == "index.html"
