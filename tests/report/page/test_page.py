"""The page in a real browser: what it shows, what clicks and keys do, and that a text of the record stays a text."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from scalesearch.report.page.document import write_page
from scalesearch.report.page.reading import StudyReader
from scalesearch.report.page.writing import make_payload
from scalesearch.study.folder import StudyFolder
from scalesearch.study.store import Record
from tests.report.page.browser import PHONE, address, open_browser, visit
from tests.report.page.made import REASON, made_record, made_trial

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\u2028</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    folder = StudyFolder(tmp_path_factory.mktemp("results") / "made")
    folder.make()
    return folder


def write(folder: StudyFolder, *records: Record, name: str = "report.html") -> str:
    path = folder.root / name
    path.write_text(write_page(make_payload([StudyReader(folder, records)])), encoding="utf-8")
    return address(path)


@pytest.fixture(scope="module")
def url(folder: StudyFolder) -> str:
    """A page of 60 trials of every state, the best of which is named by somebody with bad intentions."""
    record = made_record(60)
    best = made_trial(random.Random(5), label=EVIL)
    best.user_attrs["score"]["val_top1"] = 0.995
    record.study.add_trial(best)
    folder.notes.write_text(f"By {EVIL}", encoding="utf-8")
    folder.table("detect-classes").write_text(
        f'detector,class,val_ap,val_ap_se\na,"{EVIL}",0.5,\n'.replace("\u2028", ""), encoding="utf-8"
    )
    return write(folder, record)


@pytest.fixture
def tab(browser: Any, url: str) -> Iterator[Any]:
    tab, complaints = visit(browser, url)
    yield tab
    assert complaints == []
    tab.close()


def dots(tab: Any) -> int:
    return int(tab.locator("#frontier-plot .scatterlayer .point").count())


def chosen(tab: Any) -> str:
    return str(tab.locator("#detail h3").inner_text())


def test_a_text_of_the_record_stays_a_text(tab: Any) -> None:
    asked: list[str] = []
    tab.on("dialog", lambda dialog: asked.append(dialog.message))
    assert chosen(tab) == EVIL.replace("\u2028", "\n") or chosen(tab).startswith("<script>alert(1)</script>")
    assert tab.locator("th", has_text="<script>alert(1)</script>").count() >= 2  # of a network, of a class
    tab.locator("summary", has_text="Notes").click()
    assert "<script>alert(1)</script>" in tab.locator("pre.notes").inner_text()
    assert tab.locator("img[onerror], img[src=x]").count() == 0
    tab.locator("#frontier-plot .point").last.hover(force=True)
    assert asked == []


def test_the_policy_lets_through_no_script_but_the_pages_own_and_no_request(browser: Any, url: str) -> None:
    tab, complaints = visit(browser, url)
    ran = tab.evaluate(
        "() => { const one = document.createElement('script'); one.textContent = 'window.ran = true';"
        " document.body.append(one); return Boolean(window.ran); }"
    )
    assert ran is False
    assert tab.evaluate("() => fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')") == "refused"
    assert len([said for said in complaints if "Content Security Policy" in said]) >= 2
    tab.close()


def test_every_trained_network_is_a_dot_and_its_hover_says_what_it_is(tab: Any) -> None:
    rows = tab.locator("#table tbody tr")
    assert rows.count() == 50
    assert re.fullmatch(r"1 to 50 of \d+", tab.locator("#pager span").inner_text())
    before = dots(tab)
    dot = tab.locator("#frontier-plot .scatterlayer .trace").nth(2).locator(".point").nth(5)
    dot.hover(force=True)
    hover = tab.locator("#frontier-plot .hoverlayer .hovertext")
    hover.first.wait_for()
    assert re.search(r"macs.*params", hover.first.text_content())
    assert before > 40


def test_a_click_shows_the_networks_drawing_costs_and_commands(tab: Any) -> None:
    first = chosen(tab)
    dot = tab.locator("#frontier-plot .scatterlayer .trace").nth(2).locator(".point").nth(5)
    box = dot.bounding_box()
    tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.locator("#detail h3", has_not_text=re.compile(re.escape(first.splitlines()[0]))).wait_for()
    assert tab.locator("#detail .drawing rect").count() > 5
    for title in ("Costs by stage", "Block strings", "Train or export it"):
        tab.locator("#detail summary", has_text=title).click()
    text = tab.locator("#detail").inner_text()
    assert re.search(r"scalesearch train arch=\w{12}\.json", text)
    assert re.search(
        r"scalesearch export arch=\w{12}\.json num_classes=10 image_size=32 to=onnx out=\w{12}\.onnx", text
    )
    assert re.search(r"^ds_r1_k3_s1_e1_c\d+\nir_", text, flags=re.MULTILINE)
    assert tab.locator("#detail tbody th", has_text="classifier").count() == 1
    assert tab.locator("#detail polyline").get_attribute("points").count(",") == 3  # two rungs and the end
    with tab.expect_download() as download:
        tab.locator("#detail button", has_text="Save").click()
    assert '"image_size": 32' in Path(download.value.path()).read_text(encoding="utf-8")


def test_axes_can_be_changed_and_every_cost_has_its_own_front(tab: Any) -> None:
    cost, title = tab.locator("#axes select").first, "#frontier-plot .xtitle"
    assert cost.locator("option").all_inner_texts() == [
        "multiply-adds (macs)",
        "parameters",
        "activations (acts)",
        "latency, ms (batch 1, p50)",
    ]
    cost.select_option("params")
    assert tab.locator(title).text_content() == "parameters"
    tab.locator("#axes select").nth(2).select_option("linear")
    assert tab.evaluate("document.getElementById('frontier-plot').layout.xaxis.type") == "linear"
    tab.locator("#toggles label", has_text="EfficientNet").click()
    assert {"B0", "B7"} <= set(tab.locator("#frontier-plot .annotation-text").all_text_contents())


def test_toggles_show_what_has_no_score_with_the_reason(tab: Any) -> None:
    before = tab.locator("#pager span").inner_text()
    label = tab.locator("#toggles label", has_text="failed (3)")
    label.click()
    assert tab.locator("#pager span").inner_text() != before
    tab.locator("#table-controls input").fill("out of memory")
    rows = tab.locator("#table tbody tr")
    assert rows.count() == 3
    rows.first.locator("button").click()
    assert REASON in tab.locator("#detail").inner_text()
    tab.locator("#toggles label", has_text="infeasible (3)").click()
    tab.locator("#table-controls input").fill("over the limit: macs by 12%")
    assert rows.count() == 3
    tab.locator("#table-controls input").fill("")
    tab.locator("#toggles label", has_text="search").first.click()
    assert tab.locator("#pager span").inner_text().startswith("None")


def test_the_keyboard_alone_chooses_a_network(tab: Any) -> None:
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "To the table of networks"
    tab.keyboard.press("Enter")
    heading = tab.locator("#table thead button", has_text="macs")
    heading.focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#table th[aria-sort=ascending]").inner_text().startswith("macs")
    assert tab.evaluate("document.activeElement.dataset.column") == "macs"  # sorting loses no focus
    first = tab.locator("#table tbody button").first
    first.focus()
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    second = tab.locator("#table tbody button").nth(1)
    assert chosen(tab) == second.inner_text()
    assert second.get_attribute("aria-pressed") == "true"
    assert tab.evaluate("document.activeElement.dataset.key") == second.get_attribute("data-key")
    assert tab.locator("#announcement").inner_text().startswith(f"{chosen(tab)} chosen")
    tab.locator("#frontier-plot").focus()
    tab.keyboard.press("ArrowLeft")
    assert chosen(tab) == tab.locator("#table tbody button").first.inner_text()


def test_dark_mode_follows_the_system_and_the_switch(browser: Any, url: str) -> None:
    tab, complaints = visit(browser, url, color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    assert tab.evaluate(background) == "rgb(20, 23, 28)"
    tab.locator("#theme").click()  # system, light
    assert tab.evaluate(background) == "rgb(255, 255, 255)"
    tab.locator("#theme").click()
    assert tab.evaluate(background) == "rgb(20, 23, 28)"
    tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate(background) == "rgb(255, 255, 255)"  # paper
    assert complaints == []
    tab.close()


def test_a_phone_scrolls_down_and_not_sideways(browser: Any, url: str) -> None:
    tab, complaints = visit(browser, url, viewport=PHONE)
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for part in ("#frontier-plot", "#detail", "#table"):
        box = tab.locator(part).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]
    assert complaints == []
    tab.close()


def test_two_studies_stand_in_one_page(browser: Any, folder: StudyFolder) -> None:
    other = StudyFolder(folder.root.parent / "other")
    other.make()
    readers = [StudyReader(folder, [made_record(20)]), StudyReader(other, [made_record(20, seed=1)])]
    path = folder.root / "both.html"
    path.write_text(write_page(make_payload(readers)), encoding="utf-8")
    tab, complaints = visit(browser, address(path))
    assert tab.locator("h1").inner_text() == "made beside other"
    assert tab.locator("#toggles label").all_inner_texts()[:2] == ["made: search", "other: search"]
    assert tab.locator("#growth .lines path.js-line").count() == 2
    assert complaints == []
    tab.close()


@pytest.mark.slow
def test_a_study_of_five_thousand_trials_is_drawn_and_answers(browser: Any, folder: StudyFolder) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tab, complaints = visit(browser, write(folder, made_record(5000), name="large.html"))
    assert dots(tab) > 3400
    assert tab.locator("#table tbody tr").count() == 50
    tab.locator("#pager button", has_text="Next").click()
    assert tab.locator("#pager span").inner_text().startswith("51 to 100 of 4,")
    assert complaints == []
    tab.close()
