from __future__ import annotations

import copy
import json
import random
import sys
import threading

import numpy as np
import pytest
from engine_fakes import FakeSession, fake_ranker, flat

import onyxrank
from onyxrank import InvalidInput, Item, NonFiniteScore, OnyxrankError, Ranker

TOLERANCE = 1e-5
HISTORY = ["steel tent pegs", "camping stove, small"]
ITEMS = [
    ("red desk lamp", "light for the office"),
    ("camping bag", ""),
    ("dog leash", "a green leash with steel cable and wool, for the large dog and the cat"),
    ("coffee grinder", "small"),
    ("running shoes blue", "shoes for running"),
    ("yarn", "wool yarn"),
    ("garden hose", "hose of the garden"),
    ("office chair", "chair for a desk"),
]
CANDIDATES = [Item(f"id{index}", title, text) for index, (title, text) in enumerate(ITEMS)]


@pytest.fixture(scope="module")
def ranker(tiny_bundle):
    with Ranker.load(tiny_bundle, threads=1) as loaded:
        yield loaded


@pytest.fixture
def fake(make_tokenizer):
    return fake_ranker(make_tokenizer())


def shop(count, seed=0):
    from_words = random.Random(seed)
    words = " ".join(title for title, _ in ITEMS).split()
    return [" ".join(from_words.choices(words, k=from_words.randint(1, 12))) for _ in range(count)]


def test_scores_and_order_equal_the_eager_reference(ranker, tiny_reference):
    expected = tiny_reference.score(HISTORY, ITEMS)
    assert np.ptp(expected) > 0.1, "a reference that scores everything alike proves nothing"
    scores = ranker.score(HISTORY, CANDIDATES)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=TOLERANCE)
    ranking = ranker.rank(HISTORY, CANDIDATES)
    assert [hit.index for hit in ranking] == np.argsort(-expected, kind="stable").tolist()
    assert [hit.rank for hit in ranking] == list(range(1, len(ITEMS) + 1))
    assert all(type(hit.score) is float and 0 <= hit.score <= 1 for hit in ranking)
    assert all(hit.item == CANDIDATES[hit.index] and hit.id == CANDIDATES[hit.index].id for hit in ranking)


def test_a_score_does_not_depend_on_the_other_items(ranker):
    together = ranker.score(HISTORY, CANDIDATES)
    alone = [ranker.score(HISTORY, [item])[0] for item in CANDIDATES]
    reversed_list = ranker.score(HISTORY, CANDIDATES[::-1])[::-1]
    np.testing.assert_allclose(alone, together, atol=TOLERANCE)
    np.testing.assert_allclose(reversed_list, together, atol=TOLERANCE)


@pytest.mark.parametrize("budget", [1, 40, 97, 500, 100_000])
def test_any_split_into_micro_batches_gives_the_same_scores(tiny_bundle, ranker, budget):
    with Ranker.load(tiny_bundle, threads=1, micro_batch_tokens=budget) as other:
        np.testing.assert_allclose(
            other.score(HISTORY, CANDIDATES), ranker.score(HISTORY, CANDIDATES), atol=TOLERANCE
        )


def test_rank_many_equals_rank(ranker):
    requests = [(HISTORY, CANDIDATES), ([], CANDIDATES[:3]), ("desk lamp", []), (["yarn"], shop(30))]
    for many, (history, items) in zip(ranker.rank_many(requests), requests, strict=True):
        one = ranker.rank(history, items)
        assert [hit.index for hit in many] == [hit.index for hit in one]
        np.testing.assert_allclose([hit.score for hit in many], [hit.score for hit in one], atol=TOLERANCE)
        assert (many.total, many.cuts, many.cold_start) == (one.total, one.cuts, one.cold_start)
    assert ranker.rank_many([]) == []


@pytest.mark.parametrize("request_", ["ab", ("history",), None, 3], ids=["text", "short", "none", "number"])
def test_rank_many_refuses_what_is_not_a_pair(fake, request_):
    with pytest.raises(InvalidInput, match=r"requests\[1\] must be a pair") as caught:
        fake.rank_many([("", []), request_])
    assert (caught.value.field, caught.value.index) == ("requests", 1)


def test_rank_many_names_request_and_item(fake):
    with pytest.raises(InvalidInput, match=r"requests\[1\]: items\[2\].title is empty") as caught:
        fake.rank_many([("", ["a"]), ("", ["a", "b", " "])])
    assert (caught.value.field, caught.value.index) == ("title", 2)


def test_ties_keep_the_input_order(make_tokenizer):
    ranking = fake_ranker(make_tokenizer(), FakeSession(flat), budget=30).rank("", shop(100))
    assert [hit.index for hit in ranking] == list(range(100))
    assert {hit.score for hit in ranking} == {0.5}


def test_inputs_are_never_changed(ranker):
    history = list(HISTORY)
    items = [
        {"item_id": 5, "item_title": "desk lamp", "item_description": "light", "price": 3},
        "yarn",
        CANDIDATES[0],
    ]
    before = copy.deepcopy((history, items))
    ranker.rank(history, items, top_k=1)
    ranker.score(history, items)
    ranker.recommend(history, items)
    assert (history, items) == before


def test_an_empty_list_gives_an_empty_ranking_without_running_the_model(make_tokenizer):
    session = FakeSession()
    ranker = fake_ranker(make_tokenizer(), session)
    assert len(ranker.rank(HISTORY, [])) == 0
    assert ranker.rank(HISTORY, []).total == 0
    assert ranker.score(HISTORY, []).shape == (0,)
    assert ranker.recommend(HISTORY, []) == []
    assert session.shapes == []


def test_ten_thousand_items_run_in_bounded_micro_batches(make_tokenizer):
    session = FakeSession()
    ranker = fake_ranker(make_tokenizer(), session, budget=512)
    ranking = ranker.rank(HISTORY, shop(10_000))
    assert sorted(hit.index for hit in ranking) == list(range(10_000))
    assert max(rows * columns for rows, columns in session.shapes) <= 512
    assert sum(rows for rows, _ in session.shapes) == 10_000
    scores = [hit.score for hit in ranking]
    assert scores == sorted(scores, reverse=True)


def test_duplicate_ids_and_items_all_stay(ranker):
    ranking = ranker.rank(HISTORY, [Item("same", "desk lamp"), Item("same", "yarn"), Item("same", "desk lamp")])
    assert sorted(hit.index for hit in ranking) == [0, 1, 2]
    assert {hit.id for hit in ranking} == {"same"}
    scores = {hit.index: hit.score for hit in ranking}
    assert scores[0] == pytest.approx(scores[2], abs=TOLERANCE)


@pytest.mark.parametrize(
    ("history", "cold"),
    [([], True), ("", True), ("  ", True), (["\x00"], True), ("yarn", False), (["yarn"], False)],
    ids=["no-events", "empty", "blank", "control-only", "text", "event"],
)
def test_cold_start_is_flagged(fake, history, cold):
    assert fake.rank(history, ["desk lamp"]).cold_start is cold


def test_cuts_are_reported(make_tokenizer):
    ranker = fake_ranker(make_tokenizer(), limits=onyxrank.Limits(history_tokens=3, item_tokens=2))
    cuts = ranker.rank(["red", "dog leash", "yarn"], [Item("a", "red desk lamp"), Item("b", "red", "desk lamp")]).cuts
    assert cuts == onyxrank.Cuts(history_events=2, titles=1, descriptions=1)


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ("", "title"),
        ("  \t", "title"),
        ({"id": "x"}, "title"),
        ({"title": None}, "title"),
        ({"title": 7}, "title"),
        ({"title": b"lamp"}, "title"),
        ({"title": "lamp", "description": None}, "description"),
        ({"title": "lamp", "id": None}, "id"),
        ({"title": "lamp", "id": True}, "id"),
        (Item("x", "lamp \ud800"), "title"),
        (Item("x", "lamp", "\udfff"), "description"),
        ("\x00\x01", "title"),
        (None, "item"),
        (b"lamp", "item"),
    ],
    ids=[
        "empty", "blank", "no-title", "none", "number", "bytes", "none-description", "none-id", "bool-id",
        "surrogate", "surrogate-description", "control-only", "none-item", "bytes-item",
    ],
)  # fmt: skip
def test_an_item_that_cannot_be_ranked_is_named(fake, item, field):
    with pytest.raises(InvalidInput) as caught:
        fake.rank("yarn", ["fine", item])
    assert (caught.value.field, caught.value.index) == (field, 1)
    assert "lamp" not in str(caught.value)


@pytest.mark.parametrize("items", ["a title", b"bytes", {"title": "x"}, None, 5], ids=repr)
def test_a_list_that_is_no_list_is_refused_everywhere(fake, items):
    for call in (fake.rank, fake.score, fake.recommend):
        with pytest.raises(InvalidInput) as caught:
            call("yarn", items)
        assert (caught.value.field, caught.value.index) == ("items", None)


@pytest.mark.parametrize(
    ("history", "index"),
    [(None, None), (5, None), (b"x", None), ({"a": 1}, None), (["yarn", None], 1), (["yarn", ""], 1),
     (["\ud83d"], 0), ("\ud83d", None)],
    ids=["none", "number", "bytes", "mapping", "none-event", "empty-event", "surrogate-event", "surrogate"],
)  # fmt: skip
def test_a_history_that_cannot_be_read_is_named(fake, history, index):
    with pytest.raises(InvalidInput) as caught:
        fake.rank(history, ["lamp"])
    assert (caught.value.field, caught.value.index) == ("history", index)


@pytest.mark.parametrize(
    "title",
    ["tent " * 200_000, "x" * 1_000_000, "desk\x00lamp", "tent \U0001f3d5 \U0001f468‍\U0001f469‍\U0001f467",
     "\U0001f600", "テント", "[SEP] [CLS]"],
    ids=["1MB-words", "1MB-no-space", "nul", "emoji", "emoji-only", "japanese", "special-tokens"],
)  # fmt: skip
def test_unusual_titles_are_ranked(ranker, title):
    ranking = ranker.rank(HISTORY, ["yarn", title])
    assert sorted(hit.index for hit in ranking) == [0, 1]
    assert all(np.isfinite(hit.score) for hit in ranking)


@pytest.mark.parametrize("top_k", [0, -1, True, 1.0, "1"], ids=repr)
def test_top_k_must_be_a_count(fake, top_k):
    for call in (lambda: fake.rank("", ["a"], top_k), lambda: fake.rank_many([], top_k)):
        with pytest.raises(InvalidInput) as caught:
            call()
        assert caught.value.field == "top_k"


@pytest.mark.parametrize(("top_k", "kept"), [(None, 8), (1, 1), (3, 3), (8, 8), (99, 8)])
def test_top_k_keeps_the_best(fake, top_k, kept):
    whole, ranking = fake.rank(HISTORY, CANDIDATES), fake.rank(HISTORY, CANDIDATES, top_k)
    assert ranking.hits == whole.hits[:kept]
    assert ranking.total == 8


def test_recommend_returns_the_very_objects(fake):
    items = [{"title": title} for title, _ in ITEMS]
    order = [hit.index for hit in fake.rank(HISTORY, items)]
    for given in (items, tuple(items), iter(items)):
        best_first = fake.recommend(HISTORY, given)
        assert all(found is items[index] for found, index in zip(best_first, order, strict=True))


def test_generators_are_accepted(fake):
    ranking = fake.rank((event for event in HISTORY), (item for item in CANDIDATES))
    assert ranking == fake.rank(HISTORY, CANDIDATES)


def test_timings_add_up(fake):
    timings = fake.rank(HISTORY, CANDIDATES).timings
    record = timings.as_record()
    assert record.pop("history") == 0  # cross computes no history by itself
    assert all(seconds > 0 for seconds in record.values())
    assert timings.total == pytest.approx(sum(timings.as_record().values()))


def test_32_threads_on_one_ranker_equal_one_thread(ranker):
    histories = [shop(number % 5, seed=number) for number in range(32)]
    lists = [shop(5 + number, seed=100 + number) for number in range(32)]
    expected = [ranker.score(history, items) for history, items in zip(histories, lists, strict=True)]
    answers = [None] * 32
    barrier = threading.Barrier(32)

    def work(number):
        barrier.wait()
        answers[number] = [ranker.score(histories[number], lists[number]) for _ in range(2)]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    for answer, scores in zip(answers, expected, strict=True):
        for repeated in answer:
            np.testing.assert_allclose(repeated, scores, atol=TOLERANCE)


def test_nan_logits_name_the_item(make_tokenizer):
    def nan_for_long_rows(feeds):
        logits = flat(feeds)
        logits[feeds["attention_mask"].sum(axis=1) > 6, 1] = np.nan
        return logits

    ranker = fake_ranker(make_tokenizer(), FakeSession(nan_for_long_rows), budget=16)
    with pytest.raises(NonFiniteScore, match=r"items\[2\];") as caught:
        ranker.rank("", ["a", "b", "a b c d e f g", "c"])
    assert caught.value.index == 2


def test_a_closed_ranker_says_so(make_tokenizer):
    session = FakeSession()
    with fake_ranker(make_tokenizer(), session) as ranker:
        ranker.rank("", ["a"])
    ranker.close()
    assert session.closed == 1
    calls = [
        lambda: ranker.rank("", ["a"]),
        lambda: ranker.rank_many([]),
        lambda: ranker.score("", []),
        lambda: ranker.recommend("", []),
        ranker.info,
    ]
    for call in calls:
        with pytest.raises(OnyxrankError, match="this ranker is closed"):
            call()


def test_info_is_json_and_says_what_runs(tiny_bundle, ranker):
    info = ranker.info()
    assert json.loads(json.dumps(info)) == info
    assert info["bundle"] == str(tiny_bundle.resolve())
    assert (info["architecture"], info["variant"], info["precision"]) == ("cross", "fp32", "fp32")
    assert (info["provider_asked"], info["provider"], info["session_providers"]) == (
        "auto",
        "cpu",
        ["CPUExecutionProvider"],
    )
    assert (info["threads"], info["micro_batch_tokens"]) == (1, 2048)
    assert info["limits"] == {"history_tokens": 64, "item_tokens": 32}
    assert info["profile"] is None
    info["limits"]["item_tokens"] = 0
    assert ranker.info()["limits"]["item_tokens"] == 32, "a caller's change must not reach the ranker"


class Table:
    """Iterates over the names of its columns, as data frames do."""

    columns = ("item_id", "item_title")

    def __iter__(self):
        return iter(self.columns)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda ranker: ranker.rank("tent", Table()), "items"),
        (lambda ranker: ranker.rank("tent", {"lamp", "hose"}), "items"),
        (lambda ranker: ranker.rank("tent", np.array("lamp")), "items"),
        (lambda ranker: ranker.rank(Table(), ["lamp"]), "history"),
        (lambda ranker: ranker.rank(np.array("tent"), ["lamp"]), "history"),
        (lambda ranker: ranker.rank_many(5), "requests"),
        (lambda ranker: ranker.rank_many(np.array("tent")), "requests"),
        (lambda ranker: Ranker.load(5), "bundle"),
        (lambda ranker: Ranker.load("bundle", provider=["cpu"]), "provider"),
        (lambda ranker: Ranker.load("bundle", variant=None), "variant"),
        (lambda ranker: Ranker.load("bundle", threads=2**40), "threads"),
        (lambda ranker: Ranker.load("bundle", profile=np.array([1, 2])), "profile"),
    ],
)
def test_wrong_kinds_of_arguments_are_named(tiny_bundle, call, field):
    with Ranker.load(tiny_bundle) as ranker, pytest.raises(InvalidInput) as caught:
        call(ranker)
    assert caught.value.field == field


def test_numpys_whole_numbers_are_counts_and_no_text_is_repeated(tiny_bundle):
    with Ranker.load(tiny_bundle, threads=np.int64(1)) as ranker:
        assert len(ranker.rank("tent", ["lamp", "hose"], top_k=np.int64(1))) == 1
        assert json.dumps(ranker.info())
        with pytest.raises(InvalidInput, match="not str") as caught:
            ranker.rank("tent", ["lamp"], "something private")
    assert "private" not in str(caught.value)
