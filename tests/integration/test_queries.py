"""Each example query on the tables of the sample data, run by the real job: its exact rows, and what can go wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.query import main
from tests.job import Job

QUERIES = Path(__file__).resolve().parents[2] / "docs" / "queries"

EXPECTED = {
    "top_users": """\
currency,place,user_id,email,country,orders,units,revenue
EUR,1,u01,mira@example.com,DE,5,9,134.5000
EUR,2,u05,niamh@example.com,IE,3,6,86.0000
EUR,3,u10,lotte@example.com,,1,1,18.0000
EUR,4,u99,,,1,1,18.0000
JPY,1,u03,haruka@example.com,JP,4,8,15200.0000
KWD,1,u04,noura@example.com,KW,3,8,30.9175
USD,1,u02,jonah@example.com,US,4,8,202.7000
USD,2,u06,arjun@example.com,IN,2,4,51.6000
USD,3,u08,,,1,1,39.9000
USD,4,u07,tessa@example.com,CA,3,2,34.0000
unknown,1,u06,arjun@example.com,IN,1,1,12.9000
""",
    "top_products": """\
currency,place,sku,name,category,orders,units,revenue
EUR,1,MUG-ENAMEL,Enamel mug,kitchen,5,7,126.0000
EUR,2,TEA-GREEN,"Green tea, loose, 100 g",tea,4,7,87.5000
EUR,3,TEA-BLACK,"Black tea, loose, 100 g",tea,1,2,22.0000
EUR,4,BAG-TOTE,,,1,1,21.0000
JPY,1,TEA-GREEN,"Green tea, loose, 100 g",tea,2,5,9000.0000
JPY,2,TEA-BLACK,"Black tea, loose, 100 g",tea,2,2,3600.0000
JPY,3,MUG-ENAMEL,Enamel mug,kitchen,1,1,2600.0000
KWD,1,TEA-BLACK,"Black tea, loose, 100 g",tea,2,5,17.9175
KWD,2,TEA-GREEN,"Green tea, loose, 100 g",tea,1,2,7.5000
KWD,3,MUG-ENAMEL,Enamel mug,kitchen,1,1,5.5000
USD,1,PEN-BRASS,Brass pen,stationery,4,6,204.0000
USD,2,NOTE-A5,"Notebook, 6 by 8""\",stationery,6,6,77.4000
USD,3,LAMP-DESK,,,1,1,39.9000
USD,4,INK-BLUE,Blue ink,stationery,2,2,19.8000
USD,5,PEN-CASE,Pen case,,1,1,0.0000
unknown,1,NOTE-A5,"Notebook, 6 by 8""\",stationery,1,1,12.9000
""",
    "top_countries": """\
currency,place,country,users,orders,units,revenue
EUR,1,DE,1,5,9,134.5000
EUR,2,IE,1,3,6,86.0000
EUR,3,unknown,2,2,2,36.0000
JPY,1,JP,1,4,8,15200.0000
KWD,1,KW,1,3,8,30.9175
USD,1,US,1,4,8,202.7000
USD,2,unknown,1,2,2,52.8000
USD,3,IN,1,2,4,51.6000
USD,4,CA,1,3,2,34.0000
unknown,1,IN,1,1,1,12.9000
""",
    "best_channel": """\
currency,place,channel,orders,revenue,revenue_per_order,share
EUR,1,web,7,205.0000,29.2857,0.7992
EUR,2,newsletter,1,21.0000,21.0000,0.0819
EUR,3,marketplace,1,18.0000,18.0000,0.0702
EUR,4,unknown,1,12.5000,12.5000,0.0487
JPY,1,app,2,9000.0000,4500.0000,0.5921
JPY,2,marketplace,1,4400.0000,4400.0000,0.2895
JPY,3,web,1,1800.0000,1800.0000,0.1184
KWD,1,app,2,17.9175,8.9588,0.5795
KWD,2,marketplace,1,13.0000,13.0000,0.4205
USD,1,newsletter,3,192.8000,64.2667,0.5652
USD,2,app,3,64.5000,21.5000,0.1891
USD,3,web,4,49.8000,12.4500,0.1460
USD,4,marketplace,1,34.0000,34.0000,0.0997
unknown,1,app,1,12.9000,12.9000,1.0000
""",
    "revenue_a_day": """\
order_date,currency,units,revenue
2024-04-30,EUR,1,12.5000
2024-05-01,EUR,11,168.0000
2024-05-01,JPY,4,7200.0000
2024-05-01,KWD,5,17.9175
2024-05-01,USD,8,201.7000
2024-05-01,unknown,1,12.9000
2024-05-02,EUR,2,36.0000
2024-05-02,JPY,2,3600.0000
2024-05-02,USD,5,79.6000
2024-05-03,EUR,3,40.0000
2024-05-03,JPY,2,4400.0000
2024-05-03,KWD,3,13.0000
2024-05-03,USD,3,59.8000
""",
}


def run(job: Job, file: Path, *options: str) -> int:
    return main([str(file), "--set", f"warehouse={job.root / 'warehouse'}", *options])


def written(folder: Path, sql: str) -> Path:
    file = folder / "query.sql"
    file.write_text(sql, encoding="utf-8")
    return file


@pytest.mark.parametrize("name", sorted(path.stem for path in QUERIES.glob("*.sql")))
def test_an_example_query_finds_exactly_these_rows(
    sample_job: Job, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run(sample_job, QUERIES / f"{name}.sql", "--csv") == 0
    assert capsys.readouterr().out == EXPECTED[name]


def test_the_readme_lists_every_example_query() -> None:
    listed = [line.split("`")[1] for line in (QUERIES / "README.md").read_text().splitlines() if line.startswith("| `")]
    assert sorted(listed) == sorted(path.name for path in QUERIES.glob("*.sql"))


def test_json_prints_an_object_a_line_with_exact_decimals_and_null(
    sample_job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sql = "SELECT order_id, line_count, amount FROM dim_order WHERE order_id IN ('A-1004', 'A-1013') ORDER BY order_id;"
    assert run(sample_job, written(tmp_path, sql), "--json") == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"order_id": "A-1004", "line_count": 1, "amount": "10.7505"},
        {"order_id": "A-1013", "line_count": 1, "amount": None},
    ]


def test_a_person_sees_a_table_and_is_told_when_there_are_more_rows(
    sample_job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = written(tmp_path, "SELECT sku, category FROM dim_product WHERE sku LIKE 'PEN-%' ORDER BY sku DESC")
    assert run(sample_job, file, "--rows", "1") == 0
    printed = capsys.readouterr()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.out.splitlines() if "│" in line]
    assert cells == [["PEN-CASE", ""]]
    assert "there are more rows" in printed.err
    assert run(sample_job, file, "--rows", "2") == 0
    assert "there are more rows" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT nope FROM dim_user", (2, "query.sql: [UNRESOLVED_COLUMN.WITH_SUGGESTION]")),
        ("SELECT * FROM no_such_table", (2, "query.sql: [TABLE_OR_VIEW_NOT_FOUND]")),
        ("SELEC 1", (2, "query.sql: [PARSE_SYNTAX_ERROR]")),
        ("SELECT line_count / 0 FROM dim_order", (1, "query.sql: [DIVIDE_BY_ZERO]")),
    ],
    ids=["unknown column", "unknown table", "no SQL", "an error in the data"],
)
def test_sql_that_does_not_hold_is_one_clear_line(
    sample_job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path, sql: str, expected: tuple[int, str]
) -> None:
    exit_code, message = expected
    assert run(sample_job, written(tmp_path, sql)) == exit_code
    printed = capsys.readouterr()
    assert printed.out == ""
    errors = [json.loads(line) for line in printed.err.splitlines()]
    assert len(errors) == 1
    assert message in errors[0]["event"]
    assert "JVM stacktrace" not in errors[0]["event"]


def test_a_warehouse_without_the_table_is_an_error_that_says_what_makes_it(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(job, QUERIES / "top_users.sql") == 1
    assert f"{job.root / 'warehouse'} has no table fact_sales; jobs/orders.py makes it" in capsys.readouterr().err


def test_a_query_file_that_is_not_there_is_a_wrong_argument(
    sample_job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(sample_job, tmp_path / "absent.sql") == 2
    assert "absent.sql: [Errno 2] No such file or directory" in capsys.readouterr().err


def test_wrong_arguments_end_with_the_usage_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query.sql", "--json", "--csv"]) == 2
    assert "usage: jobs/query.py" in capsys.readouterr().err
