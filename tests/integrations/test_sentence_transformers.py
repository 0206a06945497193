"""The cross-encoder beside sentence-transformers' own, on the same weights."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from shelf import QUERY, TEXTS, expected

from onyxrank import InvalidInput, Item
from onyxrank.integrations.sentence_transformers import CrossEncoder

OTHER = "lamp for the office"
PAIRS = [(QUERY, TEXTS[0]), (OTHER, TEXTS[1]), (QUERY, TEXTS[2]), (OTHER, TEXTS[0])]


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return tiny_bundle


@pytest.fixture(scope="module")
def theirs(tiny_reference, tiny_bundle, tmp_path_factory):
    """The library's own, of one logit: it ranks with no other."""
    library = pytest.importorskip("sentence_transformers", reason="the extra dev has it")
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
    from peers.checkpoint import peer_checkpoint
    from weights import bundle_with_weights

    folder = tmp_path_factory.mktemp("theirs")
    weights = bundle_with_weights(tiny_reference, tiny_bundle, folder / "bundle")
    return library.CrossEncoder(str(peer_checkpoint(weights, folder / "checkpoint", [])), device="cpu")


@pytest.fixture
def ours(ranker):
    return CrossEncoder(ranker)


def test_pairs_score_as_theirs(ours, theirs):
    found, wanted = ours.predict(PAIRS), theirs.predict(PAIRS)
    assert (type(found), found.dtype, found.shape) == (type(wanted), wanted.dtype, wanted.shape)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    one, wanted_one = ours.predict(PAIRS[1]), theirs.predict(PAIRS[1])
    assert type(one) is type(wanted_one)
    assert one == pytest.approx(wanted_one, abs=1e-4)


@pytest.mark.parametrize("options", [{}, {"top_k": 2}, {"return_documents": True}], ids=str)
def test_texts_rank_as_theirs(ours, theirs, options):
    found, wanted = ours.rank(QUERY, TEXTS, **options), theirs.rank(QUERY, TEXTS, **options)
    assert [list(hit) for hit in found] == [list(hit) for hit in wanted]
    assert [hit["corpus_id"] for hit in found] == [hit["corpus_id"] for hit in wanted]
    assert [hit.get("text") for hit in found] == [hit.get("text") for hit in wanted]
    assert {type(hit["score"]) for hit in found} == {type(hit["score"]) for hit in wanted}
    assert [hit["score"] for hit in found] == pytest.approx([hit["score"] for hit in wanted], abs=1e-4)


def test_scores_and_order_are_the_rankers(ours, ranker):
    order, scores = expected(ranker, TEXTS)
    found = ours.rank(QUERY, TEXTS, batch_size=2, show_progress_bar=False)
    assert ([hit["corpus_id"] for hit in found], [hit["score"] for hit in found]) == (order, scores)
    pairs = [[QUERY, text] for text in TEXTS]
    predicted = ours.predict(pairs)
    assert ours.predict(np.array(pairs)).tolist() == ours.predict(iter(pairs)).tolist() == predicted.tolist()
    assert predicted.tolist() == pytest.approx(ranker.score(QUERY, TEXTS).tolist(), abs=1e-6)


def test_texts_in_hand_are_not_changed_and_none_is_fine(ours):
    texts = list(TEXTS)
    ours.rank(QUERY, texts)
    assert texts == TEXTS
    assert ours.rank(QUERY, []) == []
    assert ours.predict([]).shape == (0,)


def test_a_bundles_path_is_opened(bundle, ranker):
    model = CrossEncoder(bundle)
    assert model.predict((QUERY, TEXTS[0])) == pytest.approx(ranker.score(QUERY, [Item("a", TEXTS[0])])[0], abs=1e-6)
    model.ranker.close()


@pytest.mark.parametrize(
    "pairs",
    [
        [*PAIRS, (QUERY, None)],
        [*PAIRS, (None, "lamp")],
        [*PAIRS, "ab"],
        [*PAIRS, 5],
        [*PAIRS, ("a",) * 3],
    ],
    ids=["no text", "no query", "text", "number", "three"],
)
def test_what_is_no_pair_is_named(ours, pairs):
    with pytest.raises(InvalidInput) as caught:
        ours.predict(pairs)
    assert caught.value.index == len(PAIRS)


def test_a_single_text_is_no_list_to_rank(ours):
    with pytest.raises(InvalidInput):
        ours.rank(QUERY, "red tent")


def test_texts_are_ranked_by_position_whatever_their_labels(ours):
    pandas = pytest.importorskip("pandas")
    shuffled = pandas.Series(TEXTS, index=[5, 4, 3, 2, 1, 0][: len(TEXTS)])
    wanted = ours.rank(QUERY, TEXTS, return_documents=True)
    assert ours.rank(QUERY, shuffled, return_documents=True) == wanted
    assert ours.rank(QUERY, pandas.Series(TEXTS, index=list("uvwxyz")[: len(TEXTS)]), return_documents=True) == wanted
    assert ours.rank(QUERY, np.array(TEXTS), return_documents=True) == wanted
    assert ours.rank(QUERY, iter(TEXTS), return_documents=True) == wanted
    pyarrow = pytest.importorskip("pyarrow")
    assert ours.rank(QUERY, pyarrow.array(TEXTS), return_documents=True) == wanted
    pairs = pandas.Series(PAIRS, index=[3, 2, 1, 0])
    assert ours.predict(pairs).tolist() == ours.predict(PAIRS).tolist()


def frame(names):
    return pytest.importorskip("pandas").DataFrame(dict.fromkeys(names, TEXTS))


@pytest.mark.parametrize(
    "make",
    [
        lambda: frame(["query", "text"]),
        lambda: frame(["title"]),
        lambda: {"query": QUERY, "text": TEXTS[0]},
        lambda: {QUERY, TEXTS[0]},
        lambda: "ab",
        lambda: b"ab",
        lambda: 5,
        lambda: None,
        lambda: np.array("ab"),
    ],
    ids=["frame", "items", "mapping", "set", "text", "bytes", "number", "none", "no axis"],
)
def test_what_is_no_list_is_refused(ours, make):
    for ask in (ours.predict, lambda value: ours.rank(QUERY, value)):
        with pytest.raises(InvalidInput, match="must be a list of"):
            ask(make())


def test_two_texts_of_a_series_are_no_pair(ours):
    pandas = pytest.importorskip("pandas")
    with pytest.raises(InvalidInput, match=r"inputs\[0\] must be a pair"):
        ours.predict(pandas.Series([QUERY, TEXTS[0]]))


@pytest.mark.parametrize("blank", ["", " ", "\x00"])
def test_a_blank_text_comes_last(ours, blank):
    texts = [TEXTS[0], blank, TEXTS[1]]
    scores = ours.predict([(QUERY, text) for text in texts] + [(OTHER, blank)])
    assert scores.dtype == np.float32
    assert scores[[1, 3]].tolist() == [0, 0]
    assert scores[[0, 2]].tolist() == ours.predict([(QUERY, TEXTS[0]), (QUERY, TEXTS[1])]).tolist()
    assert [hit["corpus_id"] for hit in ours.rank(QUERY, texts)][-1] == 1
    assert ours.predict((QUERY, blank)) == 0


def test_arguments_that_callers_of_the_library_pass(ours):
    wanted = ours.predict(PAIRS)
    neutral = {"num_workers": 2, "chunk_size": 3, "apply_softmax": False, "activation_fn": None, "device": None}
    assert ours.predict(PAIRS, batch_size=2, convert_to_numpy=True, **neutral).tolist() == wanted.tolist()
    assert ours.rank(QUERY, TEXTS, convert_to_numpy=True, convert_to_tensor=False, **neutral) == ours.rank(
        QUERY, TEXTS
    )
    listed = ours.predict(PAIRS, convert_to_numpy=False)
    assert (type(listed), listed) == (list, wanted.tolist())


@pytest.mark.parametrize(
    "argument",
    [
        *({"apply_softmax": True}, {"activation_fn": abs}, {"activation_fct": abs}, {"convert_to_tensor": True}),
        *({"device": "cpu"}, {"prompt": "rank:"}, {"prompt_name": "rank"}, {"pool": {}}),
    ],
    ids=lambda argument: next(iter(argument)),
)
def test_arguments_that_would_change_scores_are_refused_by_name(ours, argument):
    for ask in (lambda: ours.predict(PAIRS, **argument), lambda: ours.rank(QUERY, TEXTS, **argument)):
        with pytest.raises(InvalidInput, match=f"^{next(iter(argument))} is not taken") as caught:
            ask()
        assert caught.value.field == next(iter(argument))


def test_an_argument_that_does_not_exist(ours):
    with pytest.raises(TypeError, match="unexpected keyword argument 'batchsize'"):
        ours.predict(PAIRS, batchsize=3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'topk'"):
        ours.rank(QUERY, TEXTS, topk=3)
