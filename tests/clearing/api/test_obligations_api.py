"""Obligations through the REST door: in bulk as JSON and CSV, all or per item, and read back."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from clearing.models import ClearingWindow, Obligation, ObligationKey
from tests import factories
from tests.clearing.api.caller import Caller, bulk, is_problem
from tests.factories import A, B, C, obligation

pytestmark = pytest.mark.django_db
HEADER = "reference,payer,payee,currency,amount"


@pytest.fixture
def window(db: None) -> ClearingWindow:
    """An accepting window and three banks."""
    factories.circle()
    return factories.window()


def stored() -> list[tuple[str, int]]:
    """What is in the tables; the keys agree with the rows."""
    rows = list(Obligation.objects.order_by("reference").values_list("reference", "amount_minor"))
    assert ObligationKey.objects.count() == len(rows)
    return rows


def test_a_call_is_taken_into_the_accepting_window(operator: Caller, window: ClearingWindow) -> None:
    sent = bulk(
        obligation(A, B, 100_00, reference="one"), obligation(B, C, 7, currency="JPY", reference="two")
    )

    answer = operator.post("obligations", sent)

    assert answer.status_code == 201
    body = answer.json()
    assert {name: body[name] for name in ("window_id", "accepted", "duplicate", "rejected")} == {
        "window_id": window.pk,
        "accepted": 2,
        "duplicate": 0,
        "rejected": 0,
    }
    assert [(item["index"], item["reference"], item["status"]) for item in body["items"]] == [
        (0, "one", "accepted"),
        (1, "two", "accepted"),
    ]
    assert stored() == [("one", 100_00), ("two", 7)]


def test_a_repeated_call_is_a_duplicate_with_the_same_ids(operator: Caller, window: ClearingWindow) -> None:
    sent = bulk(obligation(reference="one"))
    first = operator.post("obligations", sent).json()

    again = operator.post("obligations", sent)

    assert again.status_code == 200
    assert again.json()["duplicate"] == 1
    assert again.json()["items"][0]["id"] == first["items"][0]["id"]
    assert len(stored()) == 1


def test_an_obligation_is_read_back_by_its_id(operator: Caller, window: ClearingWindow) -> None:
    sent = bulk(obligation(A, B, 1_234_56, currency="EUR", reference="one"))
    key = operator.post("obligations", sent).json()["items"][0]["id"]

    shown = operator.get(f"obligations/{key}").json()

    assert {name: shown[name] for name in ("id", "payer", "payee", "currency", "amount", "submitter")} == {
        "id": key,
        "payer": A,
        "payee": B,
        "currency": "EUR",
        "amount": "1234.56",
        "submitter": "@operator",
    }
    assert (shown["window_id"], shown["window_status"]) == (window.pk, "Open")


@pytest.mark.parametrize("mode", ["gross", "bilateral", "multilateral", "conservative"])
def test_what_was_set_off_and_what_is_paid_add_up_to_the_amount(operator: Caller, mode: str) -> None:
    factories.circle()
    owed = [(A, B, 70), (A, B, 25), (B, A, 40), (B, C, 60), (C, A, 50)]
    shut = factories.closed(
        *(obligation(*row, currency=currency) for row in owed for currency in ("JPY", "USD", "BHD")),
        netting_mode=mode,
        min_netting_efficiency_bps=0,
    )
    operation = factories.settled(shut)

    rows = operator.get("obligations", window=shut.pk, limit=100).json()["results"]
    shown = [operator.get(f"obligations/{row['id']}").json() for row in rows]

    assert len(shown) == 15
    for row in shown:
        trail = row["discharge"]
        assert trail["operation_id"] == str(operation.pk)
        assert Decimal(trail["set_off"]) + Decimal(trail["paid"]) == Decimal(row["amount"])
        assert sum(Decimal(part["amount"]) for part in trail["payments"]) == Decimal(trail["paid"])
        wire = (
            row["amount"],
            trail["set_off"],
            trail["paid"],
            *(part["amount"] for part in trail["payments"]),
        )
        decimals = {"JPY": 0, "USD": 2, "BHD": 3}[row["currency"]]
        assert {len(amount.partition(".")[2]) for amount in wire} == {decimals}
    assert any(Decimal(row["discharge"]["set_off"]) for row in shown) is (mode != "gross")


def test_obligations_are_listed_by_window_and_participant(operator: Caller, window: ClearingWindow) -> None:
    items = [obligation(A, B), obligation(B, C), obligation(C, A)]
    operator.post("obligations", bulk(*items))
    references = [item.reference for item in items]

    def listed(**filters: Any) -> list[str]:
        return [row["reference"] for row in operator.get("obligations", **filters).json()["results"]]

    assert sorted(listed(window=window.pk)) == sorted(listed()) == references
    assert sorted(listed(participant=A)) == [references[0], references[2]]
    assert listed(participant=A, window=window.pk, limit=1000) == listed(participant=A)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"payer": "NOBODY"}, "unknown_participant"),
        ({"payee": A}, "same_payer_and_payee"),
        ({"amount": "0"}, "amount_not_positive"),
        ({"amount": "-1.00"}, "amount_not_positive"),
        ({"amount": "1.001"}, "too_many_decimals"),
        ({"amount": "1,000.00"}, "amount_invalid"),
        ({"amount": "1e3"}, "amount_invalid"),
        ({"amount": "٣"}, "amount_invalid"),
        ({"amount": ""}, "amount_invalid"),
        ({"amount": "99999999999999999999"}, "amount_out_of_range"),
        ({"currency": "ABC"}, "unknown_currency"),
        ({"currency": "usd"}, "unknown_currency"),
        ({"reference": ""}, "reference_invalid"),
        ({"reference": "x" * 65}, "reference_invalid"),
        ({"reference": "a\u0000b"}, "reference_invalid"),
        ({"priority": 100}, "priority_out_of_range"),
        ({"priority": -1}, "priority_out_of_range"),
        ({"link": "x" * 141}, "link_invalid"),
        ({"not_before": "2999-01-01"}, "date_out_of_range"),
        ({"not_before": "soon"}, "date_invalid"),
        ({"amount": 10}, "item_invalid"),
        ({"amount": 10.0}, "item_invalid"),
        ({"amount": None}, "item_invalid"),
        ({"due_date": "2026-02-30"}, "item_invalid"),
        ({"priority": "1"}, "item_invalid"),
        ({"priority": 10**30}, "priority_out_of_range"),
        ({"colour": "red"}, "item_invalid"),
        ({"payer": [A]}, "item_invalid"),
    ],
)
@pytest.mark.parametrize("on_error", ["all_or_nothing", "per_item"])
def test_a_wrong_item_is_named_and_writes_nothing(
    operator: Caller, window: ClearingWindow, on_error: str, wrong: dict[str, Any], code: str
) -> None:
    sent = bulk(obligation(reference="good"), obligation(reference="bad"), on_error=on_error)
    sent["obligations"][1] |= wrong

    answer = operator.post("obligations", sent)

    if on_error == "all_or_nothing":
        problem = is_problem(answer, 422, code)
        (item,) = problem["items"]
        assert stored() == []
    else:
        assert answer.status_code == 201
        body = answer.json()
        assert (body["accepted"], body["rejected"], len(body["items"])) == (1, 1, 2)
        item = body["items"][1]
        assert stored() == [("good", 10_00)]
    assert (item["index"], item["status"], item["code"]) == (1, "rejected", code)
    assert item["message"]


def test_an_answer_that_quotes_what_cannot_be_stored_is_kept_and_repeated(
    operator: Caller, window: ClearingWindow
) -> None:
    sent = bulk(
        obligation("NO\u0000BODY"), obligation(reference="a\u0000b"), obligation(), on_error="per_item"
    )

    first = operator.post("obligations", sent, key="k1")
    again = operator.post("obligations", sent, key="k1")

    assert (first.status_code, first.json()["accepted"], first.json()["rejected"]) == (201, 1, 2)
    assert (again.status_code, again.json(), again.headers["Idempotent-Replayed"]) == (
        201,
        first.json(),
        "true",
    )
    assert len(stored()) == 1


def test_a_reference_with_another_body_is_a_conflict(operator: Caller, window: ClearingWindow) -> None:
    operator.post("obligations", bulk(obligation(amount_minor=1, reference="one")))

    other = bulk(obligation(amount_minor=2, reference="one"))

    problem = is_problem(operator.post("obligations", other), 409, "reference_conflict")
    assert problem["items"][0]["differing"] == ["amount"]
    assert stored() == [("one", 1)]


def test_several_kinds_of_faults_share_the_general_code(operator: Caller, window: ClearingWindow) -> None:
    sent = bulk(obligation(A, A), obligation(amount="0"), obligation())

    problem = is_problem(operator.post("obligations", sent), 422, "obligations_rejected")

    assert [(item["index"], item["code"]) for item in problem["items"]] == [
        (0, "same_payer_and_payee"),
        (1, "amount_not_positive"),
    ]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("", 400, "body_malformed"),
        ("{", 400, "body_malformed"),
        (b'{"obligations": [{"reference": "\xff"}]}', 422, "item_invalid"),
        ('{"obligations": [' + "[" * 5000 + "]" * 5000 + "]}", 400, "body_malformed"),
        ("[]", 422, "body_invalid"),
        ("null", 422, "body_invalid"),
        ("{}", 422, "body_invalid"),
        ({"obligations": {}}, 422, "body_invalid"),
        ({"obligations": [], "colour": "red"}, 422, "body_invalid"),
        ({"obligations": [], "on_error": "ignore"}, 422, "body_invalid"),
        ({"obligations": []}, 422, "no_items"),
        ({"obligations": [], "region": "Moon"}, 422, "unknown_region"),
        ({"obligations": [1]}, 422, "item_invalid"),
    ],
)
def test_a_body_of_another_shape_is_refused(
    operator: Caller, window: ClearingWindow, body: Any, status: int, code: str
) -> None:
    is_problem(operator.post("obligations", body), status, code)

    assert stored() == []


def test_ten_thousand_items_are_taken_and_one_more_is_not(operator: Caller, window: ClearingWindow) -> None:
    items = [obligation(A, B, 1) for _ in range(10_001)]

    problem = is_problem(operator.post("obligations", bulk(*items)), 422, "too_many_items")
    assert (problem["items"], problem["items_max"]) == (10_001, 10_000)
    assert stored() == []

    answer = operator.post("obligations", bulk(*items[1:]))
    assert (answer.status_code, answer.json()["accepted"]) == (201, 10_000)


def test_a_region_without_an_open_window_takes_nothing(operator: Caller) -> None:
    factories.circle()

    is_problem(operator.post("obligations", bulk(obligation())), 404, "no_accepting_window")


def csv(operator: Caller, *lines: str, parameters: str = "") -> Any:
    """Send lines under the header."""
    text = "\r\n".join([HEADER, *lines, ""])
    return operator.post(f"obligations{parameters}", text, media_type="text/csv; charset=utf-8")


def test_a_csv_takes_the_same_path(operator: Caller, window: ClearingWindow) -> None:
    answer = csv(operator, f"one,{A},{B},USD,10.00", f"two,{B},{C},JPY,7", parameters="?region=Americas")

    assert answer.status_code == 201
    assert (answer.json()["accepted"], answer.json()["window_id"]) == (2, window.pk)
    again = operator.post("obligations", bulk(obligation(A, B, 10_00, reference="one")))
    assert again.json()["duplicate"] == 1
    assert stored() == [("one", 10_00), ("two", 7)]


def test_a_csv_names_its_region_in_its_lines(operator: Caller, window: ClearingWindow) -> None:
    text = f"{HEADER},region\none,{A},{B},USD,10.00,Americas\ntwo,{A},{B},USD,10.00,Europe\n"

    is_problem(operator.post("obligations", text, media_type="text/csv"), 422, "region_differs")

    assert stored() == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (" ", "csv_header_invalid"),
        ("reference,payer\n", "csv_header_invalid"),
        (f"{HEADER},colour\n", "csv_header_invalid"),
        (b"\xff\xfe", "csv_not_utf8"),
        (f"{HEADER}\n", "no_items"),
        (f"{HEADER}\none,{A},{B},USD\n", "csv_line_invalid"),
        (f'{HEADER}\none,{A},"{B},USD,1\n', "csv_line_invalid"),
        (f"{HEADER},due_date\none,{A},{B},USD,1,soon\n", "date_invalid"),
        (f"{HEADER}\none,{A},{B},USD,1.001\n", "too_many_decimals"),
    ],
)
def test_a_broken_csv_writes_nothing(
    operator: Caller, window: ClearingWindow, text: str | bytes, code: str
) -> None:
    path = "obligations?region=Americas"

    is_problem(operator.post(path, text, media_type="text/csv"), 422, code)

    assert stored() == []


def test_a_broken_line_leaves_the_others_when_asked_per_item(
    operator: Caller, window: ClearingWindow
) -> None:
    answer = csv(
        operator,
        f"one,{A},{B},USD,10.00",
        "two,too,few",
        f"three,{B},{C},JPY,7",
        parameters="?region=Americas&on_error=per_item",
    ).json()

    assert (answer["accepted"], answer["rejected"]) == (2, 1)
    assert (answer["items"][1]["index"], answer["items"][1]["code"]) == (1, "csv_line_invalid")
    assert [item["index"] for item in answer["items"]] == [0, 1, 2]


def test_a_participant_submits_what_it_owes_and_nothing_else(bank_a: Caller) -> None:
    factories.window()

    mixed = bulk(obligation(A, B, reference="own"), obligation(B, C, reference="theirs"))
    problem = is_problem(bank_a.post("obligations", mixed), 422, "not_your_obligation")
    assert [item["reference"] for item in problem["items"]] == ["theirs"]
    assert stored() == []

    answer = bank_a.post("obligations", mixed | {"on_error": "per_item"}).json()
    assert [item["status"] for item in answer["items"]] == ["accepted", "rejected"]
    assert list(Obligation.objects.values_list("submitter", flat=True)) == [A]


def test_only_what_is_not_its_own_leaves_a_participant_with_rejections(bank_a: Caller) -> None:
    window = factories.window()

    answer = bank_a.post("obligations", bulk(obligation(B, C), on_error="per_item"))

    assert answer.status_code == 200
    assert (answer.json()["window_id"], answer.json()["rejected"]) == (window.pk, 1)


def test_a_participant_reads_what_it_owes_or_is_owed(
    bank_a: Caller, operator: Caller, as_participant: Callable[[str], Caller]
) -> None:
    factories.window()
    sent = bulk(obligation(A, B, reference="ab"), obligation(B, C, reference="bc"))
    ids = [item["id"] for item in operator.post("obligations", sent).json()["items"]]
    bank_c = as_participant(C)

    assert [row["reference"] for row in bank_a.get("obligations").json()["results"]] == ["ab"]
    assert [row["reference"] for row in bank_c.get("obligations").json()["results"]] == ["bc"]
    assert bank_a.get("obligations", participant=C).json()["results"] == []
    assert bank_a.get(f"obligations/{ids[0]}").status_code == 200
    is_problem(bank_a.get(f"obligations/{ids[1]}"), 404, "unknown_obligation")


def test_participants_may_use_the_same_reference(bank_a: Caller, bank_b: Caller) -> None:
    factories.window()

    bank_a.post("obligations", bulk(obligation(A, C, 1, reference="one")))
    answer = bank_b.post("obligations", bulk(obligation(B, C, 2, reference="one")))

    assert answer.json()["accepted"] == 1
    assert [amount for _, amount in stored()] in ([1, 2], [2, 1])
