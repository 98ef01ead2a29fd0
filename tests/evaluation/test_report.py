"""The report: one file that needs nothing else, and says only what the results hold."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from procmodel.evaluation.figures.style import canvas, drawn
from procmodel.evaluation.headlines import good_enough, headlines, now, worth
from procmodel.evaluation.report import (
    Headline,
    Picture,
    Section,
    Table,
    Verdict,
    inline,
    number,
    render,
    time_words,
    write_report,
)
from procmodel.evaluation.story import CAPTIONS, sections

VOID = {"meta", "br", "link", "img", "input", "hr"}


@drawn
def _line() -> Any:
    figure = canvas(1.0)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], marker="o")
    axes.set_xlabel("time [h]")
    return figure


class Reader(HTMLParser):
    """Collects text and checks that every tag is closed in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def controller(cost: float, share: float = 0.0, **more: Any) -> dict[str, Any]:
    return {
        "cost": cost,
        "cost_std": 1.0,
        "violation": {"1": {"share": share}, "2": {"share": 0.0}},
        "limits": {"LI1.PV high 80": {"rank": 1, "unit": "cm", "share": share, "mean_excess": 0, "largest_excess": 0}},
        "travel_percent_per_row": {"FC1.SP": 0.5},
        "holds": 0,
        "solve_seconds": {"p50": 0.01, "p95": 0.02, "p99": 0.03},
        **more,
    }


def results(**changed: Any) -> dict[str, Any]:
    error = lambda k: {"error": k, "over_std": k / 2}  # noqa: E731
    pair = {
        "mv": "FC1.SP", "cv": "LI1.PV", "unit": "cm/kg/h", "model": {"sign": "+", "value": 0.5},
        "truth": {"sign": "+", "value": 0.6}, "right": True, "declared": "+", "passed": True, "dead_time_s": None,
        "settling_time_s": 40.0,
    }  # fmt: skip
    tag = {
        "role": "CV", "unit": "cm", "good_percent": 98.0, "gaps": 1, "longest_gap_s": 60.0, "stuck": 0, "least": 1.0,
        "most": 2.0, "interval_s": None,
    }  # fmt: skip
    told: dict[str, Any] = {
        "record": {"rows": 8640, "step_s": 10.0, "tags": {"LI1.PV": tag}},
        "excitation": {"FC1.SP": {"own_percent": 40.0, "moved_percent": 3.0, "moves_answer_cvs": True}},
        "open_loop": {
            "LI1.PV": {
                "unit": "cm",
                "std": 2.0,
                "starts": 40,
                "model": {"1": error(0.1), "30": error(0.4)},
                "persistence": {"1": error(0.3), "30": error(1.6)},
            }
        },
        "gains": {"right": 4, "pairs": 4, "gate": {"passed": True, "checked": 2, "reasons": []}, "table": [pair]},
        "closed_loop": {
            "advice": controller(90.0, cost_over={"oracle": {"ratio": 1.125, "low": 1.1, "high": 1.15}}),
            "operator": controller(100.0, 0.02),
            "oracle": controller(80.0),
            "trial": {
                "seeds": [1, 2, 3], "rows": 480, "sample_time_s": 60.0, "cost_unit": "$/h",
                "violation_tolerance_percent": 0.1,
            },
        },
        "advice": {
            "action": "move",
            "reason": "What decides: LI1.PV high 80 cm (rank 1).",
            "notes": ["<data> is 20 s old"],
            "moves": [
                {
                    "tag": "FC1.SP", "unit": "kg/h", "current": 40.0, "recommended": 42.5, "delta": 2.5, "low": 0.0,
                    "high": 100.0, "clamp": "",
                }
            ],
            "outlooks": [
                {
                    "tag": "LI1.PV", "unit": "cm", "measured": 50.0, "end": 52.0, "unmoved_end": None, "low": None,
                    "high": 80.0, "status": "inside",
                }
            ],
        },
        "claims": [{"claim": "cost_over_oracle", "value": 1.125, "sense": "<=", "bound": 1.1, "met": False}],
        "seconds": {"training": 61.2},
    }  # fmt: skip
    return told | changed


def whole_report(**changed: Any) -> str:
    told = results(**changed)
    drawings = dict.fromkeys(CAPTIONS, _line())
    return render(
        sections(told, drawings), title="Plant <1> & co", lead="lead", meta="meta", headlines=headlines(told),
        footer=("simulated",),
    )  # fmt: skip


def test_it_stands_alone_without_script_address_or_outside_file() -> None:
    html = whole_report()
    assert "http" not in html
    assert "//" not in html.replace("*/", "")
    reader = read(html)
    assert not {"script", "link", "img", "iframe", "object"} & set(reader.tags)
    assert not [name for name, _ in reader.attributes if name == "src" or name.startswith("on")]
    assert all((value or "").startswith("#") for name, value in reader.attributes if name.endswith("href"))
    assert "svg" in reader.tags


def test_what_people_wrote_is_text_and_never_markup() -> None:
    html = whole_report()
    assert "Plant &lt;1&gt; &amp; co" in html
    assert "<data>" not in html
    assert "<data> is 20 s old" in read(html).text


def test_a_table_stands_behind_each_chart_that_has_numbers() -> None:
    reader = read(whole_report())
    figures_without_numbers = {"conditioning", "open_loop"}
    assert reader.tags.count("figure") == len(CAPTIONS)
    # The results hold no free run and no backtest, so their charts have no numbers either.
    assert reader.tags.count("details") == len(CAPTIONS) - len(figures_without_numbers) - 2
    assert "LI1.PV high 80" in reader.text


def test_answers_come_before_the_charts() -> None:
    html = whole_report()
    first_chart = html.index("<figure>")
    for question in ("good enough", "been worth", "recommend now"):
        assert html.index(question) < first_chart


def test_every_svg_is_described_for_those_who_cannot_see_it_and_scales_with_the_page() -> None:
    svg = inline(_line(), 'a "quoted" caption')
    assert svg.startswith("<svg")
    assert 'aria-label="a &quot;quoted&quot; caption"' in svg
    assert "viewBox" in svg
    assert "xmlns" not in svg
    head = svg.split(">", 1)[0]
    assert "width" not in head
    assert "height" not in head


def test_the_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "deep" / "report.html"
    write_report(target, [Section(title="one", answer="yes")], title="first")
    assert "first" in target.read_text(encoding="utf-8")

    def broken(self: Path, other: Path) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(OSError, match="disk full"):
        write_report(target, [], title="second")
    assert "first" in target.read_text(encoding="utf-8")
    assert [p.name for p in target.parent.iterdir()] == ["report.html"]


def test_a_good_model_is_a_yes_with_what_it_rests_on() -> None:
    headline = good_enough(results())
    assert headline.verdict is Verdict.GOOD
    assert headline.answer == "Yes: all 2 declared gain signs hold and 4 of 4 gains agree with the true plant."
    assert "off by 20\N{NO-BREAK SPACE}% of a variable's usual spread" in headline.detail
    assert "standing still 80\N{NO-BREAK SPACE}%" in headline.detail


@pytest.mark.parametrize(
    ("gains", "verdict", "words"),
    [
        ({"right": 4, "pairs": 4, "gate": {"passed": False, "checked": 2, "reasons": ["A -> B"]}}, "no", "No."),
        ({"right": 3, "pairs": 4, "gate": {"passed": True, "checked": 2, "reasons": []}}, "doubt", "1 of 4 gains"),
        ({"right": 0, "pairs": 0, "gate": {"passed": True, "checked": 0, "reasons": []}}, "doubt", "no gain sign"),
        (None, "plain", "Not known"),
    ],
)
def test_a_doubtful_model_is_never_a_yes(gains: Any, verdict: str, words: str) -> None:
    headline = good_enough(results(gains=gains))
    assert headline.verdict.value == verdict
    assert words in headline.answer


def test_a_model_that_does_not_beat_standing_still_is_doubted() -> None:
    told = results()
    told["open_loop"]["LI1.PV"]["persistence"]["30"]["over_std"] = 0.1
    assert good_enough(told).verdict is Verdict.DOUBT


def test_the_worth_is_told_in_money_against_the_operators_and_beside_the_oracle() -> None:
    headline = worth(results()["closed_loop"])
    assert headline.answer == "10 $/h less than the operators (10.0\N{NO-BREAK SPACE}%)."
    assert headline.verdict is Verdict.GOOD
    assert "3 paired runs of 8 h" in headline.detail
    assert "1.125 times" in headline.detail


def test_savings_bought_by_broken_limits_are_doubted() -> None:
    loop = results()["closed_loop"]
    loop["advice"]["violation"]["1"]["share"] = 0.5
    headline = worth(loop)
    assert headline.verdict is Verdict.DOUBT
    assert headline.answer.endswith("but it broke rank-1 limits 50\N{NO-BREAK SPACE}% of the time.")


def test_a_loss_is_called_one_and_no_trial_is_called_not_known() -> None:
    loop = results()["closed_loop"]
    loop["advice"]["cost"] = 110.0
    assert worth(loop).verdict is Verdict.NO
    assert "more than the operators" in worth(loop).answer
    assert worth(None).answer == "Not known from a recording alone."


def test_the_advice_is_told_as_settings_and_a_hold_as_a_hold() -> None:
    advice = results()["advice"]
    assert now(advice).answer == "Set FC1.SP to 42.5 kg/h (+2.5)."
    held = {**advice, "action": "hold", "reason": "The newest sample is 9 min old."}
    assert now(held).answer.startswith("Hold")
    assert now(held).detail == "The newest sample is 9 min old."
    assert now(held).verdict is Verdict.DOUBT


def test_parts_that_were_not_tried_are_left_out() -> None:
    told = {"gains": results()["gains"]}
    assert [s.title for s in sections(told, {})] == ["What a move does"]
    assert len(headlines(told)) == 3


def test_numbers_unknowns_and_verdicts_are_readable() -> None:
    cells = Table(head=("what", "value"), rows=(("a", 5739.2267), ("b", None), ("c", float("nan")), ("d", True)))
    text = read(render([Section(title="t", tables=(cells,))], title="x")).text
    assert "5,739" in text
    assert text.count("–") == 2
    assert "✓ yes" in text
    told = {0.0: "0", 60.0: "60", 1.23456: "1.235", 0.000123456: "0.0001235", 12345.6: "12,346", -0.5: "-0.5"}
    assert {value: number(value) for value in told} == told
    assert [time_words(s) for s in (5, 1500, 28800, 360000)] == ["5 s", "25 min", "8 h", "4.17 days"]


def test_a_verdict_shows_by_word_and_shape() -> None:
    html = render([], title="x", headlines=[Headline(question="q", answer="a", verdict=Verdict.NO)])
    assert 'aria-label="no">✗' in html


def test_a_picture_without_numbers_has_no_empty_table() -> None:
    html = render([Section(title="s", pictures=(Picture(svg=_line(), caption="c"),))], title="x")
    assert "<details>" not in html
