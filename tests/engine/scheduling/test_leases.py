"""What becomes of calls when the model is replaced, the ranker closed, or the process forked."""

from __future__ import annotations

import asyncio
import copy
import gc
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from engine_fakes import FakeSession, by_content, fake_ranker

from onyxrank import BundleError, DeadlineExceeded, InvalidInput, OnyxrankError, Ranker
from onyxrank.loading.engine import Engine
from onyxrank.scheduling.leases import Leases

HISTORY, ITEMS = ["steel tent pegs"], ["camping stove", "desk lamp", "wool yarn", "red dog leash"]


def scores_of(bundle):
    with Ranker.load(bundle, threads=1) as ranker:
        return ranker.score(HISTORY, ITEMS)


def test_a_reload_under_load_fails_and_mixes_nothing(tiny_bundle, trained_bundle):
    expected = [scores_of(tiny_bundle), scores_of(trained_bundle)]
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
    stop, seen = threading.Event(), []

    def ask(ranker):
        while not stop.is_set():
            answer = ranker.score(HISTORY, ITEMS)
            seen.append([np.allclose(answer, own, atol=1e-5) for own in expected])

    with Ranker.load(tiny_bundle, threads=1) as ranker, ThreadPoolExecutor(4) as callers:
        asking = [callers.submit(ask, ranker) for _ in range(4)]
        try:
            for turn in range(6):
                ranker.reload((trained_bundle, tiny_bundle)[turn % 2])
                time.sleep(0.1)
        finally:
            stop.set()
        for one in asking:
            one.result()
    assert all(sum(own) == 1 for own in seen)
    assert {tuple(own) for own in seen} == {(True, False), (False, True)}


def test_a_damaged_bundle_leaves_the_old_one_serving(tiny_bundle, trained_bundle, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(trained_bundle, damaged)
    model = damaged / "onnx" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-100])
    with Ranker.load(tiny_bundle, threads=1) as ranker:
        before = ranker.score(HISTORY, ITEMS)
        for wrong, error in ((damaged, BundleError), (tmp_path / "none", BundleError), (3, InvalidInput)):
            with pytest.raises(error):
                ranker.reload(wrong)
        np.testing.assert_array_equal(ranker.score(HISTORY, ITEMS), before)
        assert ranker.info()["bundle"] == str(tiny_bundle)


def test_a_reload_keeps_what_the_ranker_was_loaded_with(tiny_bundle, trained_bundle):
    with Ranker.load(tiny_bundle, threads=1, micro_batch_tokens=100, queue_tokens=5000) as ranker:
        ranker.reload(trained_bundle)
        info = ranker.info()
    assert (info["threads"], info["micro_batch_tokens"], info["queue"]["limit_tokens"]) == (1, 100, 5000)


def test_a_prepared_history_is_read_again_by_the_new_model(trained_bundle, shared_bundle):
    with Ranker.load(trained_bundle, threads=1) as ranker:
        prepared = ranker.prepare(HISTORY)
        for bundle in (shared_bundle, trained_bundle):
            ranker.reload(bundle)
            np.testing.assert_allclose(prepared.score(ITEMS), scores_of(bundle), atol=1e-5)


def test_closing_waits_for_calls_in_flight(make_tokenizer):
    began, leave = threading.Event(), threading.Event()

    def answer(feeds):
        began.set()
        leave.wait(20)
        return by_content(feeds)

    ranker = fake_ranker(make_tokenizer(), FakeSession(answer))
    with ThreadPoolExecutor(2) as callers:
        asked = callers.submit(ranker.score, HISTORY, ITEMS)
        assert began.wait(20)
        closing = callers.submit(ranker.close)
        while ranker._leases._engine is not None:
            time.sleep(0.001)
        with pytest.raises(OnyxrankError, match="closed"):
            ranker.score(HISTORY, ITEMS)
        assert not closing.done()
        leave.set()
        assert len(asked.result(20)) == len(ITEMS)
        closing.result(20)
    with pytest.raises(OnyxrankError, match="closed"):
        ranker.reload("anything")


def test_replacing_what_is_closed_closes_the_new_one(make_tokenizer):
    sessions = [FakeSession(), FakeSession()]
    rankers = [fake_ranker(make_tokenizer(), session) for session in sessions]
    leases: Leases = rankers[0]._leases
    rankers[0].close()
    engine: Engine = rankers[1]._leases._engine
    with pytest.raises(OnyxrankError, match="closed"):
        leases.replace(engine)
    assert [session.closed for session in sessions] == [1, 1]


def test_threads_end_with_a_ranker_that_nobody_closed(make_tokenizer):
    ranker = fake_ranker(make_tokenizer())
    ranker.score(HISTORY, ITEMS)
    [thread] = ranker._leases._engine.scheduler._threads
    del ranker
    gc.collect()
    thread.join(20)
    assert not thread.is_alive()


def test_many_coroutines_rank_at_once(tiny_bundle):
    async def all_at_once():
        with Ranker.load(tiny_bundle, threads=1) as ranker:
            rankings = await asyncio.gather(*(ranker.arank(HISTORY, ITEMS, top_k=2) for _ in range(20)))
            scores = await ranker.ascore(HISTORY, ITEMS)
            with pytest.raises(DeadlineExceeded):
                await ranker.arank(HISTORY, ITEMS, deadline=0)
            with pytest.raises(InvalidInput, match=r"items\[0\].title is empty"):
                await ranker.arank(HISTORY, [""])
        return rankings, scores

    rankings, scores = asyncio.run(all_at_once())
    np.testing.assert_allclose(scores, scores_of(tiny_bundle), atol=1e-5)
    best = np.argsort(-scores, kind="stable")[:2].tolist()
    assert all([hit.index for hit in ranking] == best for ranking in rankings)
    assert all(ranking.timings.run > 0 for ranking in rankings)


@pytest.mark.parametrize(
    "deadline",
    ["soon", True, float("nan"), 10**400, -(10**400), Fraction(10**400)],
    ids=["text", "bool", "nan", "huge", "long ago", "fraction"],
)
def test_a_deadline_that_is_no_number_is_refused(tiny_bundle, deadline):
    with Ranker.load(tiny_bundle, threads=1) as ranker, pytest.raises(InvalidInput, match="deadline") as caught:
        ranker.rank(HISTORY, ITEMS, deadline=deadline)
    assert caught.value.field == "deadline"


def in_fork(ranker, answers):
    try:
        ranker.score(HISTORY, ITEMS)
        answers.put("scored")
    except OnyxrankError as error:
        ranker.close()
        answers.put(str(error))


def load_and_score(bundle, answers):
    answers.put(scores_of(bundle))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_ranker_carried_through_a_fork_says_so(tiny_bundle):
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    with Ranker.load(tiny_bundle, threads=2) as ranker:
        before = ranker.score(HISTORY, ITEMS)
        child = context.Process(target=in_fork, args=(ranker, answers))
        child.start()
        child.join(30)
        assert child.exitcode == 0
        assert "before the process was forked" in answers.get()
        np.testing.assert_array_equal(ranker.score(HISTORY, ITEMS), before)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_loading_after_a_fork_works(tiny_bundle, method):
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    with Ranker.load(tiny_bundle, threads=1) as ranker:
        expected = ranker.score(HISTORY, ITEMS)
        children = [context.Process(target=load_and_score, args=(tiny_bundle, answers)) for _ in range(2)]
        for child in children:
            child.start()
        for _ in children:
            np.testing.assert_allclose(answers.get(timeout=60), expected, atol=1e-6)
        for child in children:
            child.join(30)
            assert child.exitcode == 0


FORKED = """
import os, sys, onyxrank
ranker = onyxrank.Ranker.load(sys.argv[1], threads=2)
ranker.score(['tent'], ['lamp', 'stove'])
child = os.fork()
if child == 0:
    sys.exit(7)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_can_end_with_its_own_status(tiny_bundle):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED, str(tiny_bundle)], timeout=60)
    assert done.returncode == 7


def test_closing_on_an_event_loop_says_so_and_aclose_waits(make_tokenizer):
    began, leave = threading.Event(), threading.Event()

    def answer(feeds):
        began.set()
        leave.wait(20)
        return by_content(feeds)

    session = FakeSession(answer)

    async def serve():
        ranker = fake_ranker(make_tokenizer(), session)
        asked = asyncio.create_task(ranker.arank(HISTORY, ITEMS))
        while not began.is_set():
            await asyncio.sleep(0.001)
        with pytest.raises(OnyxrankError, match=r"await ranker\.aclose"):
            ranker.close()
        with pytest.raises(OnyxrankError, match=r"asyncio\.to_thread"):
            ranker.reload("anything")
        async with ranker:
            leave.set()
        assert session.closed == 1
        return await asked

    assert len(asyncio.run(serve())) == len(ITEMS)


def test_a_prepared_history_keeps_its_ranker_alive(make_tokenizer):
    prepared = fake_ranker(make_tokenizer()).prepare(HISTORY)
    gc.collect()
    assert len(prepared.rank(ITEMS)) == len(ITEMS)


def test_rankers_are_loaded_in_each_process_and_not_pickled(make_tokenizer):
    with fake_ranker(make_tokenizer()) as ranker:
        for value in (ranker, ranker.prepare(HISTORY)):
            with pytest.raises(OnyxrankError, match="load the bundle in each process"):
                pickle.dumps(value)
            with pytest.raises(OnyxrankError, match="cannot be pickled or copied"):
                copy.copy(value)


def test_threads_that_tokenize_are_one_pool_for_all_callers(make_tokenizer):
    engine = fake_ranker(make_tokenizer())._leases._engine
    assert "readers" in vars(engine), "two threads that ask first at once would make two"
