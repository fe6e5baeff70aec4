"""Standard output belongs to the program's results."""

from __future__ import annotations

import logging
import sys

import pytest

from videogen_cluster.chatter import quiet_stdout


def test_what_is_printed_meanwhile_is_logged_and_not_shown(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "videogen_cluster.chatter")
    with quiet_stdout():
        sys.stdout.write("(raylet) a worker died\n")
    sys.stdout.write("result\n")
    assert capsys.readouterr().out == "result\n"
    assert caplog.messages == ["(raylet) a worker died"]
