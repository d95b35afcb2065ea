"""The difference of two texts as data, and how it is drawn."""

from __future__ import annotations

import difflib

from hypothesis import given
from hypothesis import strategies as st

from qianda.tui.transcript.diff import Diff, changed_spans, compare, pairs, read_unified

TEXTS = st.lists(st.sampled_from(["a", "b", "", "c c", "d"]), max_size=30).map(
    lambda lines: "".join(f"{line}\n" for line in lines)
)


def drawn(diff: Diff) -> list[list[str]]:
    return [[line.kind + line.text for line in hunk] for hunk in diff.hunks]


@given(TEXTS, TEXTS, st.integers(0, 4))
def test_what_is_left_and_what_came_are_the_two_texts(old: str, new: str, context: int) -> None:
    diff = compare(old, new, context=context)
    before, after = old.splitlines(), new.splitlines()
    for hunk in reversed(diff.hunks):
        for line in hunk:
            assert not line.old or before[line.old - 1] == line.text
            assert not line.new or after[line.new - 1] == line.text
        assert any(line.kind != " " for line in hunk)
    kept = [line for number, line in enumerate(before, 1) if number not in {n.old for h in diff.hunks for n in h}]
    same = [line.text for hunk in diff.hunks for line in hunk if line.kind == " "]
    assert len(kept) + len(same) + diff.removed == len(before)
    assert len(kept) + len(same) + diff.added == len(after)


@given(TEXTS, TEXTS)
def test_hunks_are_cut_as_difflib_cuts_them(old: str, new: str) -> None:
    unified = "\n".join(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm=""))
    read = read_unified(unified)
    assert (read is None) == (not compare(old, new).hunks)
    if read is not None:
        assert read.added - read.removed == compare(old, new).added - compare(old, new).removed


@given(TEXTS, TEXTS)
def test_pairs_lose_no_line(old: str, new: str) -> None:
    for hunk in compare(old, new).hunks:
        left = [one for one, _ in pairs(hunk) if one is not None]
        right = [other for _, other in pairs(hunk) if other is not None]
        assert left == [line for line in hunk if line.kind != "+"]
        assert right == [line for line in hunk if line.kind != "-"]


def test_changes_far_apart_are_hunks_of_their_own() -> None:
    old = "".join(f"{n}\n" for n in range(30))
    diff = compare(old, old.replace("\n5\n", "\nfive\n").replace("\n25\n", "\n25\nmore\n"), "numbers.txt")
    assert drawn(diff) == [
        [" 2", " 3", " 4", "-5", "+five", " 6", " 7", " 8"],
        [" 23", " 24", " 25", "+more", " 26", " 27", " 28"],
    ]
    assert (diff.path, diff.kind, diff.count) == ("numbers.txt", "changed", "+2 −1")
    assert [(line.old, line.new) for line in diff.hunks[1]][3:5] == [(0, 27), (27, 28)]


def test_a_file_that_is_new_or_gone() -> None:
    assert compare(None, "a\nb\n").kind == "created"
    assert compare(None, "a\nb\n").count == "+2 −0"
    assert compare("a\n", None).kind == "deleted"
    assert compare("", "").hunks == ()
    assert compare("a\r\n", "a\n").note == "only line ends changed"


def test_two_texts_that_have_nothing_in_common_are_compared_at_once() -> None:
    diff = compare("".join(f"a{n}\n" for n in range(9000)), "".join(f"b{n}\n" for n in range(9000)))
    assert diff.count == "+9000 −9000"


def test_the_difference_in_the_result_of_a_tool_is_read() -> None:
    result = "edited a.py, 1 replacement:\n@@ -1,2 +1,3 @@\n x = 1\n-y = 2\n+y = 3\n+z = 4\n(… 3 more lines)"
    diff = read_unified(result, "a.py")
    assert diff is not None
    assert drawn(diff) == [[" x = 1", "-y = 2", "+y = 3", "+z = 4"]]
    assert [line.new for line in diff.hunks[0]] == [1, 0, 2, 3]
    assert read_unified("Wrote 3 bytes to a.py (created)") is None


def test_words_that_changed() -> None:
    old, new = "total = price * 3", "total = price * count"
    left, right = changed_spans(old, new)
    assert [old[start:end] for start, end in left] == ["3"]
    assert [new[start:end] for start, end in right] == ["count"]
    assert changed_spans("one thing", "quite{another}[]") == ((), ())
