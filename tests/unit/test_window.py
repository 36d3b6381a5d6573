"""What a consumer's window takes for handed over, and what it still knows when its state was kept."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.schemas import TODAY, encoded, golden, load

from spanwire._core import Change, Message, RecordVersion, Timestamp, Window

SCHEMA = load(TODAY)
Identity = tuple[int, str, str, int]
"""Commit timestamp in seconds, transaction, sequence, number of the mod."""

identities = st.tuples(
    st.integers(1, 3), st.sampled_from("ab"), st.sampled_from(["0", "1"]), st.integers(0, 4)
)
streams = st.sets(identities, max_size=40).map(sorted)
"""Changes as a partition returns them: in commit order, the mods of a record by their numbers."""


def _version(of: Identity) -> RecordVersion:
    """As a header brings it."""
    second, transaction, sequence, number = of
    first = {
        "commitTimestamp": {"seconds": second, "nanos": 0},
        "transaction": transaction,
        "sequence": sequence,
        "mod": number,
    }
    header = encoded(SCHEMA.Header, {"formatMajor": 1, "partition": bytes(16), "first": first})
    version = Message.decode([b"t/", header, b"", b""]).first
    assert version is not None
    return version


def _changes(of: list[Identity]) -> list[Change]:
    """As one message brings them."""
    records = []
    for (second, transaction, sequence), mods in groupby(of, key=lambda one: one[:3]):
        record = {
            "commitTimestamp": {"seconds": second, "nanos": 0},
            "serverTransactionId": transaction,
            "recordSequence": sequence,
            "mods": [{"number": number, "typed": {}} for *_, number in mods],
        }
        records.append(encoded(SCHEMA.DataChangeRecord, record))
    topic, header, columns, _ = golden("typed")
    return Message.decode([topic, header, columns, b"".join(records)]).changes()


def _identity(change: Change) -> Identity:
    version = change.version
    return version.commit_timestamp.seconds, version.transaction, version.sequence, version.number


def _in_one_by_one(window: Window, of: list[Identity]) -> list[Identity]:
    return [one for one in of if window.admit_version(_version(one))]


def _in_a_message(window: Window, of: list[Identity]) -> list[Identity]:
    return [_identity(change) for change in window.admit(_changes(of))]


ways = pytest.mark.parametrize("admitted", [_in_one_by_one, _in_a_message])


@ways
@given(of=streams, data=st.data())
def test_each_is_new_once_wherever_it_was_cut_and_read_again(
    admitted: Any, of: list[Identity], data: st.DataObject
) -> None:
    """Also in the middle of a record; and a window made of another's state goes on as that one would."""
    window, taken, cut = Window(), [], 0
    for _ in range(3):
        again = data.draw(st.integers(0, cut))
        cut = data.draw(st.integers(cut, len(of)))
        new = admitted(window, of[again:cut])
        assert new == of[len(taken) : cut]
        taken += new
        state = window.state()
        assert (state is None) == (not taken)
        window = Window.restore(state)
        assert window.state() == state
    assert admitted(window, of) == of[cut:]


@ways
def test_a_window_after_a_timestamp_knows_all_up_to_it(admitted: Any) -> None:
    """Inclusive, as positions and cursors are."""
    window = Window(Timestamp(2))
    state = window.state()
    assert state == (Timestamp(2, 1), [])
    of = [(second, "a", "0", 0) for second in (1, 2, 3)]
    assert admitted(Window.restore(state), of) == admitted(window, of) == of[2:]


def test_the_state_is_that_of_one_timestamp() -> None:
    """However many came before: it is kept in every cursor."""
    window = Window()
    assert window.state() is None
    _in_one_by_one(window, [(second, "a", "0", 0) for second in range(1, 50)])
    _in_one_by_one(window, [(50, "b", "1", 2), (50, "a", "0", 1), (50, "a", "0", 7)])
    assert window.state() == (Timestamp(50), [("a", "0", 7), ("b", "1", 2)])
