"""The buying rhythm."""

from datetime import UTC, timedelta, timezone
from sys import float_info
from typing import Any

from histories import contact, moment, order

from percorso import ids
from percorso.measures import Contact
from percorso.measures.buying import Buying, Spent, buying


def of(*history: Contact, now: str = "04-10") -> Buying:
    return buying(history, ids.unix_ms(moment(now)), UTC)


def test_recency_frequency_and_monetary_value_are_of_the_purchases_that_were_kept() -> None:
    history = [
        order("03-01", "a", 10),
        order("03-11", "b", 20.5),
        order("03-31T12:00", "c", 100, total={"amount": 30, "currency": "USD"}),
        order("04-01", "d"),
    ]
    found = of(*history)
    assert (found.purchases, found.given_back, found.recency_days) == (4, 0, 9)
    assert (found.first_at, found.last_at) == (moment("03-01"), moment("04-01"))
    assert found.monetary == {"EUR": Spent(30.5, 2, 15.25), "USD": Spent(30, 1, 30)}
    assert list(found.monetary) == ["EUR", "USD"]
    assert found.latest == [each.id for each in history[:0:-1]]


def test_the_usual_interval_is_the_median_of_days_between_purchases_and_twice_as_long_is_overdue() -> None:
    history = [order("03-01", "a"), order("03-11", "b"), order("03-31", "c")]
    found = of(*history)
    assert (found.usual_interval_days, found.due_at, found.overdue) == (15, moment("04-15"), False)
    assert of(*history, now="04-30").overdue is False
    assert of(*history, now="04-30T00:01").overdue is True


def test_one_interval_is_no_habit() -> None:
    found = of(order("03-01", "a"), order("03-11", "b"))
    assert (found.usual_interval_days, found.due_at, found.overdue) == (None, None, None)


def test_purchases_of_one_day_where_the_customer_lives_are_one_for_the_interval() -> None:
    history = [order(f"03-01T{at}", at) for at in ("00:30", "12:00", "23:30")] + [order("03-11", "b")]
    assert of(*history).usual_interval_days is None
    here = timezone(timedelta(hours=-1))
    assert buying(history, ids.unix_ms(moment("04-10")), here).usual_interval_days == 5


def test_an_order_is_one_purchase_however_often_its_state_is_told() -> None:
    history = [
        order("03-01", "a", 10, status="placed"),
        order("03-02", "a", 12, status="paid"),
        order("03-03", "a", status="shipped"),
    ]
    found = of(*history)
    assert (found.purchases, found.last_at, found.monetary) == (1, moment("03-01"), {"EUR": Spent(12, 1, 12)})
    assert found.latest == [history[0].id]


def test_what_was_given_back_is_no_purchase() -> None:
    history = [order("03-01", "a", 10), order("03-02", "b", 20), order("03-05", "b", 20, status="refunded")]
    history += [order("03-06", "c", 5, status="returned"), order("03-07", "b", status="shipped")]
    found = of(*history)
    assert (found.purchases, found.given_back, found.monetary) == (1, 2, {"EUR": Spent(10, 1, 10)})


def test_a_visit_is_a_purchase_where_its_basket_cost_something_or_that_was_its_purpose() -> None:
    def bought(channel: str = "store_visit", outcome: str | None = None, **details: Any) -> int:
        return of(contact("03-01", channel, outcome=outcome, details={"location_id": "l"} | details)).purchases

    assert bought(basket={"amount": 5}) == 1
    assert bought("kiosk", purpose="purchase") == 1
    assert bought(outcome="purchased") == 1
    assert bought(purpose="purchase", basket={"amount": 0}) == 0
    assert bought(purpose="return", basket={"amount": 5}) == 0
    assert bought(purpose="browse") == 0
    assert of(contact("03-01", "phone", outcome="purchased")).purchases == 0


def test_an_amount_without_a_currency_is_told_apart() -> None:
    assert of(contact("03-01", "purchase", details={"order_id": "a", "total": {"amount": 5}})).monetary == {
        "XXX": Spent(5, 1, 5)
    }


def test_amounts_beyond_what_a_double_can_say_end_there() -> None:
    found = of(order("03-01", "a", 1.7e308), order("03-02", "b", 1.7e308)).monetary["EUR"]
    assert (found.purchases, found.amount) == (2, float_info.max)


def test_who_never_bought_has_no_rhythm() -> None:
    found = of(contact("03-01"))
    assert (found.purchases, found.recency_days, found.monetary, found.overdue, found.latest) == (0, None, {}, None, [])


def test_an_order_of_tomorrow_is_not_of_less_than_no_time_ago() -> None:
    assert of(order("04-11", "a")).recency_days == 0
