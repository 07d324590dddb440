"""The page: its data, and that it draws everything in a real browser without a word on the console."""

import json
import re
import shutil
import subprocess

import pytest

from sim.report.html import page_data, page_of
from tests.sim.report.small_run import small_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_page_asks_nobody_for_anything():
    page = b"".join(page_of(small_run())).decode()
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", page)
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert len(page) < 2_000_000


def test_data_ends_no_script_early():
    page = b"".join(page_of(small_run())).decode()
    data = page.partition('<script type="application/json" id="data">')[2].partition("</script>")[0]
    assert json.loads(data)["run"]["scenario"] == "small"


def test_broken_check_comes_with_its_moment_its_trace_and_its_messages():
    data = page_data(small_run())
    (broken,) = [check for check in data["checks"] if not check["ok"]]
    assert broken["name"] == "quick"
    assert data["windows"][0]["title"] == "quick broken"
    assert any(trace["tries"] > 1 for trace in data["traces"])
    assert sum(data["users"]["offered"]) == len(small_run().evidence.users.visits)
    lanes = {group["name"]: [row["name"] for row in group["rows"]] for group in data["lanes"]}
    assert lanes["faults"] == ["kill stock-2"]
    assert lanes["down"] == ["stock-2"]
    assert lanes["ejected"] == ["stock-2"]
    assert lanes["instances"] == ["stock"]


def test_edges_count_what_the_sidecars_recorded():
    edges = {(edge["caller"], edge["service"]): edge for edge in page_data(small_run())["edges"]}
    assert set(edges) == {("visitors", "shop"), ("shop", "stock")}
    stock = edges["shop", "stock"]
    assert stock["tries"] > stock["requests"] == sum(stock["count"])
    assert stock["p50"] <= stock["p90"] <= stock["p99"]


def dumped(page, folder, theme="light"):
    """Open a page in Chromium; return its document after a while. Nothing may have been said on the console."""
    file = folder / "report.html"
    file.write_text(page)
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    options += ["--enable-logging=stderr", "--virtual-time-budget=5000", "--window-size=1400,1200", "--dump-dom"]
    command = [CHROMIUM, *options, f"{file.as_uri()}#theme={theme}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian's package is `chromium`)")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_panel_is_drawn_without_errors(tmp_path, theme):
    dom = dumped(b"".join(page_of(small_run())).decode(), tmp_path, theme)
    assert 'data-ready="yes"' in dom
    assert "data-error" not in dom
    for panel in ("overview", "axis", "lanes", "users", "mesh", "latency", "map", "trace", "space"):
        assert re.search(rf'id="{panel}"[^>]*>\s*<canvas[^>]*height="[1-9]', dom), panel
    assert dom.count('class="check') == 2
    assert dom.count("<tr") == 3  # a head and two edges
    assert 'class="trace-item' in dom
    assert 'class="event ' in dom


_USE = """
<script>
const at = (panel, x, y, kind) => {
  const canvas = document.querySelector(`#${panel} canvas`), box = canvas.getBoundingClientRect();
  const event = new PointerEvent(kind, { clientX: box.left + x, clientY: box.top + y, bubbles: true, pointerId: 1 });
  canvas.setPointerCapture = () => {};
  canvas.dispatchEvent(event);
};
setTimeout(() => {
  const panel = Time.panels.find((one) => one.place.id === "lanes");
  for (const kind of ["pointermove", "pointerdown", "pointerup"]) at("lanes", panel.x(6), 4 + ROW / 2, kind);
  document.body.dataset.pinned = Time.cursor;
  for (const [kind, x] of [["pointerdown", 400], ["pointermove", 700], ["pointerup", 700]]) at("users", x, 50, kind);
  setTimeout(() => {
    document.body.dataset.zoomed = Time.to - Time.from < 14 && Time.from > 0;
    at("space", 600, 60, "pointermove");
    document.querySelectorAll(".trace-item")[1].click();
    document.getElementById("theme").click();
    document.querySelector(".check.bad .link").click();
    document.body.dataset.jumped = Time.cursor;
  }, 200);
}, 200);
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian's package is `chromium`)")
def test_page_answers_to_the_pointer(tmp_path):
    page = b"".join(page_of(small_run())).decode().replace("</body>", f"{_USE}</body>")
    dom = dumped(page, tmp_path)
    assert "data-error" not in dom
    assert 'data-pinned="5"' in dom  # the bar's beginning, and why it is there:
    assert re.search(r'id="why-section">', dom)
    why = dom.partition('id="why"')[2].partition("</section>")[0]
    assert "timeline.begun" in why
    assert "host.killed" in why
    assert 'data-zoomed="true"' in dom
    assert re.search(r'data-jumped="(4\.99|5")', dom)
