"""What a process knows to be stored stays bounded."""

from percorso.ingest.known import trim


def test_what_is_known_stays_bounded_and_forgets_the_oldest() -> None:
    known = {number: number for number in range(100)}
    trim(known, 100)
    assert len(known) == 100
    known[100] = 100
    trim(known, 100)
    assert len(known) <= 100
    assert 0 not in known
    assert 100 in known
