"""Whether the customer had to come back, or had the matter settled at the first contact."""

from histories import inbound, outbound

from percorso.measures.repeats import find_repeats, first_contact_resolution, first_contacts, repeats


def test_the_same_topic_or_case_within_seven_days_is_a_repeat() -> None:
    history = [
        inbound("03-01", "phone", topics=["billing", "tariff"]),
        inbound("03-08", "email", topics=["Billing"]),
        inbound("03-08T00:01", "phone", topics=["tariff"]),
        inbound("03-09", "chat", case="c-1", topics=["delivery"]),
        inbound("03-10", "email", case="c-1", topics=["delivery"]),
        inbound("03-20", "email", case="c-1", topics=["delivery"]),
    ]
    found = find_repeats(history)
    assert [(each.contact, each.of, each.about) for each in found] == [
        (history[1], history[0], "topic billing"),
        (history[4], history[3], "case c-1"),
    ]
    told = repeats(history, found)
    assert (told.count, told.share) == (2, 0.3333)
    assert [(each.interaction_id, each.of) for each in told.latest] == [
        (history[1].id, history[0].id),
        (history[4].id, history[3].id),
    ]


def test_more_messages_of_a_conversation_repeat_nothing() -> None:
    chat = [inbound(f"03-01T10:0{minute}", "chat", conversation="a", topics=["billing"]) for minute in range(3)]
    assert find_repeats(chat) == []
    other = inbound("03-02", "chat", conversation="b", topics=["billing"])
    assert [
        each.contact for each in find_repeats([*chat, other, inbound("03-03", conversation="a", topics=["billing"])])
    ] == [other]


def test_what_goes_out_and_what_is_merely_looked_at_is_no_repeat() -> None:
    history = [
        inbound("03-01", "phone", topics=["billing"]),
        outbound("03-02", "email", topics=["billing"]),
        inbound("03-03", "web", topics=["billing"]),
        inbound("03-04", "purchase", topics=["billing"], details={"order_id": "o"}),
    ]
    assert find_repeats(history) == []
    assert repeats(history[1:], []).share is None


def test_at_most_the_latest_hundred_are_named() -> None:
    history = [inbound(f"03-01T10:{minute:02}", topics=["a"]) for minute in range(60)]
    history += [inbound(f"03-01T11:{minute:02}", topics=["a"]) for minute in range(60)]
    told = repeats(history, find_repeats(history))
    assert (told.count, len(told.latest), told.latest[-1].interaction_id) == (119, 100, history[-1].id)


def test_a_matter_is_settled_at_once_where_the_first_contact_says_so_and_nobody_comes_back() -> None:
    at_once = inbound("03-01", "phone", resolution="resolved", topics=["a"])
    came_back = inbound("03-02", "phone", resolution="resolved", topics=["b"])
    again = inbound("03-03", "phone", resolution="resolved", topics=["b"])
    case = inbound("03-04", "phone", resolution="resolved", case="c")
    much_later = inbound("03-30", "phone", resolution="resolved", case="c")
    conversation = inbound("03-04T10:00", "phone", resolution="resolved", conversation="v")
    goes_on = inbound("03-04T11:00", "chat", resolution="resolved", conversation="v")
    not_settled = inbound("03-05", "phone", resolution="escalated", topics=["d"])
    not_said = inbound("03-06", "phone", topics=["e"])
    history = [at_once, came_back, again, case, conversation, goes_on, not_settled, not_said, much_later]
    first = first_contacts(history, find_repeats(history))
    assert first == [(at_once, True), (came_back, False), (case, False), (conversation, False), (not_settled, False)]
    told = first_contact_resolution([settled for _, settled in first])
    assert (told.resolved, told.of, told.share) == (1, 5, 0.2)
    assert first_contact_resolution([]).share is None
