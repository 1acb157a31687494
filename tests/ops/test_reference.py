"""What operators take with them: a dashboard and alert rules that ask for what there is, and say what to do."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # it comes with uvicorn, without types
from typer.testing import CliRunner

from percorso.cli import app
from percorso.cli.reference import as_markdown
from percorso.errors import StartupError
from percorso.ops import metrics

FUNCTIONS = {
    "abs", "absent", "count", "histogram_quantile", "increase", "max", "min", "predict_linear", "rate", "sum", "time",
    "topk",
}  # fmt: skip
WORDS = {"by", "and", "or", "offset", "on"}
QUESTIONS = ["How much", "How slow", "How full", "How stale", "How wrong"]
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_TOKEN = re.compile(
    rf"\s*(?:(?P<string>{_STRING})|(?P<name>[A-Za-z_:][\w:]*)|(?P<range>\[(?:\d+[smhd]|\$__rate_interval)\])"
    r"|(?P<number>\d+(?:\.\d+)?(?:[smhd]\b)?)|(?P<sign>=~|!~|!=|==|>=|<=|[-+*/<>=(){},]))"
)


def printed(*name: str) -> str:
    result = CliRunner().invoke(app, ["reference", *name])
    assert result.exit_code == 0, result.output
    return result.stdout


def dashboard() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(printed("dashboard"))
    return document


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(printed("alerts"))["groups"] for rule in group["rules"]]


def expressions() -> Iterator[str]:
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (rule["expr"] for rule in rules())


def series() -> dict[str, set[str]]:
    """The names of all that Prometheus sees, and the labels of each."""
    seen: dict[str, set[str]] = {}
    for metric in metrics.every():
        labels = set(metric.labels)
        if metric.kind == "histogram":
            seen |= {
                f"{metric.name}_bucket": labels | {"le"},
                f"{metric.name}_sum": labels,
                f"{metric.name}_count": labels,
            }
        else:
            seen[metric.name] = labels
    return seen


def tokens(expression: str) -> list[tuple[str, str]]:
    """The tokens of an expression; nothing but these may stand in it."""
    found, at = [], 0
    while at < len(expression.rstrip()):
        match = _TOKEN.match(expression, at)
        assert match is not None, f"{expression} cannot be read at {expression[at:]!r}"
        at = match.end()
        found.append((str(match.lastgroup), match[str(match.lastgroup)]))
    return found


def used(expression: str) -> Iterator[tuple[str, set[str]]]:
    """The series that an expression asks for, each with the labels that it, and what is around it, names of it.

    Checks on the way that brackets close, that functions are known and that rates are of ranges of counters.
    """
    read = tokens(expression)
    open_: list[str] = []
    grouped: list[set[str]] = []
    for index, (kind, text) in enumerate(read):
        before = read[index - 1][1] if index else ""
        after = read[index + 1][1] if index + 1 < len(read) else ""
        if text in {"(", "{"} and kind == "sign":
            open_.append(text)
        elif text in {")", "}"} and kind == "sign":
            assert open_, expression
            assert open_.pop() + text in {"()", "{}"}, expression
        elif kind == "name" and text == "by":
            end = next(place for place in range(index, len(read)) if read[place][1] == ")")
            grouped.append({word for kind_, word in read[index:end] if kind_ == "name"} - {"by"})
        elif kind == "name" and text in FUNCTIONS and after in {"(", "by"}:
            continue
        elif kind == "name" and text.startswith("percorso_"):
            labels: set[str] = set()
            following = index + 1
            if after == "{":
                end = next(place for place in range(index, len(read)) if read[place][1] == "}")
                labels = {word for kind_, word in read[index:end] if kind_ == "name"} - {text}
                following = end + 1
            ranged = following < len(read) and read[following][0] == "range"
            over = before == "(" and read[index - 2][1] in {"rate", "increase", "predict_linear"}
            assert ranged is over, f"{text} in {expression}"
            if over and read[index - 2][1] != "predict_linear":
                assert re.search(r"_(total|bucket|sum|count)$", text), f"{text} is no counter"
            yield text, labels | (grouped[-1] if grouped else set())
        elif kind == "name" and "{" not in open_:
            inside_by = any(word == "by" for _, word in read[max(0, index - 8) : index])
            assert text in WORDS or inside_by, f"{text} in {expression}"
    assert not open_, expression


def test_every_expression_asks_for_what_there_is_by_labels_that_it_has() -> None:
    seen = series()
    for expression in expressions():
        asked = list(used(expression))
        assert asked, expression
        for name, labels in asked:
            assert name in seen, f"{name} in {expression}"
            assert labels - {"job", "instance"} <= seen[name], f"{name} has {seen[name]}, not {labels}: {expression}"


@pytest.mark.parametrize(
    "wrong",
    ["sum(percorso_queue_rows", "rate(percorso_queue_rows[5m])", "rate(percorso_http_shed_total)",
     "sun(percorso_queue_rows)", "percorso_queue_rows{job=~'a'}", "percorso_http_shed_total[5m]",
     "sum(percorso_queue_rows))"],
)  # fmt: skip
def test_an_expression_that_is_wrong_is_told(wrong: str) -> None:
    with pytest.raises(AssertionError):
        list(used(wrong))


def test_every_metric_is_named_in_the_reference_and_most_are_on_the_dashboard() -> None:
    table = as_markdown()
    every = [metric.name for metric in metrics.every()]
    assert len(every) == len(set(every)) > 40
    assert [name for name in every if f"| `{name}` |" not in table] == []
    assert printed("metrics") == table
    shown = " ".join(expressions())
    assert len([name for name in every if re.search(rf"\b{name}(_bucket|_sum|_count)?\b", shown)]) > 40


def test_the_dashboard_is_as_grafana_has_it_and_answers_five_questions() -> None:
    document = dashboard()
    assert document["schemaVersion"] >= 36
    assert document["uid"] == document["title"] == "percorso"
    variables = {each["name"]: each for each in document["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    panels = document["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    rows = [panel for panel in panels if panel["type"] == "row"]
    assert [row["title"] for row in rows] == QUESTIONS
    for panel in panels:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
        if panel["type"] == "row":
            continue
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"]["uid"] == "${datasource}"
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0
        assert all(
            set(re.findall(r"\$(\w+)", target["expr"])) <= {*variables, "__rate_interval"}
            for target in panel["targets"]
        )
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, f"{one} lies on {other}"


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    all_ = rules()
    assert len({rule["alert"] for rule in all_}) == len(all_) > 20
    groups = [group["name"] for group in yaml.safe_load(printed("alerts"))["groups"]]
    assert groups == [f"percorso, {question.lower()}" for question in QUESTIONS]
    for rule in all_:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"\d+[smh]", rule["for"])
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}
        assert all(text.endswith(".") for text in rule["annotations"].values())
        # What a summary names must still be a label of the alert.
        named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        kept = set().union(*(re.findall(r"\w+", each) for each in re.findall(r"by \(([^)]*)\)", rule["expr"])))
        assert named <= kept, rule["alert"]


def test_every_reference_can_be_listed_and_printed() -> None:
    names = printed().split()
    assert names == ["alerts", "dashboard", "kubernetes", "metrics"]
    for name in names:
        assert printed(name).strip()


def test_what_is_not_there_is_refused_with_what_is() -> None:
    result = CliRunner().invoke(app, ["reference", "nothing"])
    assert isinstance(result.exception, StartupError)
    assert all(name in result.exception.detail for name in printed().split())
