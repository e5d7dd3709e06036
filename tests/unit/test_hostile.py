"""The labels of the hostile texts are right: held against Python's own reader, made strict."""

from __future__ import annotations

from collections import Counter

from tests.hostile import Case, hostile_cases, large_cases, numbered, placed, strict_value
from tests.hostile_texts import Label

CASES = [*hostile_cases(), *large_cases(30_000)]


def verdict(raw: bytes) -> Label:
    """What Python's strict reader says; `either` where the nesting is too deep for it."""
    try:
        strict_value(raw)
    except ValueError:
        return "invalid"
    except RecursionError:
        return "either"
    return "valid"


def shown(cases: list[Case]) -> list[tuple[str, str, bytes]]:
    return [(case.category, case.label, case.text[:100]) for case in cases]


def test_every_label_is_what_a_strict_reader_says() -> None:
    allowed: dict[Label, set[Label]] = {"valid": {"valid"}, "invalid": {"invalid"}, "either": {"valid", "either"}}
    wrong = [case for case in CASES if verdict(case.text) not in allowed[case.label] | too_deep(case)]
    assert shown(wrong) == []


def too_deep(case: Case) -> set[Label]:
    """Where the reader may give up before it sees what is wrong."""
    return {"either"} if case.text.count(b"[") + case.text.count(b"{") > 900 else set()


def test_what_is_invalid_stays_so_wherever_it_is_placed() -> None:
    records = [record for case in CASES for record in placed(case, numbered("o")) if case.label == "invalid"]
    assert [record.raw[:200] for record in records if verdict(record.raw) == "valid"] == []


def test_there_are_many_cases_and_no_text_stands_twice() -> None:
    texts = [case.text for case in hostile_cases()]
    assert len(texts) == len(set(texts)) >= 300
    assert min(Counter(case.category for case in hostile_cases()).values()) >= 5
