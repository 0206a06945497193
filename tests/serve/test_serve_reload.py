"""Reloads: every worker ends with the newest bundle, whoever listens, and answers name the model that scored them."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from serving import ADMIN_KEY, PATIENCE, serving

from onyxrank import Ranker
from onyxrank.architectures.cross import PairStep
from onyxrank.loading import lifetime
from onyxrank.serve import control
from onyxrank.serve.control import Control, ReloadFailed

BODY = {"query": "tent", "items": ["camping bag", "desk lamp", "wool yarn"]}
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}


def overwrite(folder, bundle):
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bundle, folder)


def scores_of(bundle):
    with Ranker.load(bundle, threads=1) as ranker:
        return ranker.score("tent", BODY["items"])


def answer_of(url):
    answer = httpx.post(f"{url}/v1/rank", json=BODY, timeout=PATIENCE).json()
    rows = sorted(answer["results"], key=lambda row: row["index"])
    return answer["model"], np.array([row["score"] for row in rows])


def reload(url, bundle, name=""):
    asked = {"bundle": str(bundle)} | ({"name": name} if name else {})
    return httpx.post(f"{url}/admin/reload", json=asked, headers=ADMIN, timeout=PATIENCE)


def wait_for(condition):
    waiting = threading.Event()
    for _ in range(int(PATIENCE / 0.05)):
        if condition():
            return
        waiting.wait(0.05)
    raise AssertionError("it did not come about")


@pytest.fixture
def admin(keys):
    return {"admin_key_file": keys["admin_key_file"]}


def test_workers_follow_a_folder_that_is_overwritten_again(trained_bundle, shared_bundle, tmp_path, admin):
    folder, file = tmp_path / "bundle", str(tmp_path / "control")
    overwrite(folder, trained_bundle)
    with (
        serving(bundle=str(folder), control_file=file, **admin) as one,
        serving(bundle=str(folder), control_file=file, **admin) as other,
    ):
        for bundle in (shared_bundle, trained_bundle, shared_bundle):
            overwrite(folder, bundle)
            assert reload(one, folder).status_code == 200
            expected = scores_of(bundle)
            wait_for(lambda expected=expected: np.allclose(answer_of(other)[1], expected, atol=1e-5))
            np.testing.assert_allclose(answer_of(one)[1], expected, atol=1e-5)


def test_a_reload_ends_though_its_client_left(trained_bundle, shared_bundle, admin, monkeypatch):
    begun, released = threading.Event(), threading.Event()
    opening = lifetime.open_bundle

    def slow(bundle):
        begun.set()
        assert released.wait(PATIENCE)
        return opening(bundle)

    with serving(bundle=str(trained_bundle), **admin) as url:
        monkeypatch.setattr(lifetime, "open_bundle", slow)
        with httpx.Client() as leaving, contextlib.suppress(httpx.ReadTimeout):
            asked = {"bundle": str(shared_bundle), "name": "new"}
            leaving.post(f"{url}/admin/reload", json=asked, headers=ADMIN, timeout=httpx.Timeout(PATIENCE, read=0.2))
        assert begun.wait(PATIENCE)
        left = 'onyxrank_requests_total{route="/admin/reload",status="499"} 1.0'
        wait_for(lambda: left in httpx.get(f"{url}/metrics").text)
        released.set()
        wait_for(lambda: answer_of(url)[0] == "new")
        np.testing.assert_allclose(answer_of(url)[1], scores_of(shared_bundle), atol=1e-5)


def test_answers_name_the_model_that_scored(trained_bundle, shared_bundle, admin, monkeypatch):
    held, released = threading.Event(), threading.Event()
    run = PairStep.run

    def slow(self, together, watch):
        held.set()
        assert released.wait(PATIENCE)
        return run(self, together, watch)

    entered, arank = threading.Semaphore(0), Ranker.arank

    def counted(self, *asked, **options):
        entered.release()
        return arank(self, *asked, **options)

    monkeypatch.setattr(Ranker, "arank", counted)
    tensors = {"inputs": [{"name": "title", "datatype": "BYTES", "shape": [1], "data": ["lamp"]}]}
    with serving(bundle=str(trained_bundle), **admin) as url, ThreadPoolExecutor() as callers:
        monkeypatch.setattr(PairStep, "run", slow)
        try:
            before = callers.submit(answer_of, url)
            infer = callers.submit(httpx.post, f"{url}/v2/models/shop/infer", json=tensors, timeout=PATIENCE)
            assert held.wait(PATIENCE)
            wait_for(lambda: entered.acquire(blocking=False))
            wait_for(lambda: entered.acquire(blocking=False))
            reloading = callers.submit(reload, url, shared_bundle, "new")
            # The new model scores while the old one has not answered its last request yet.
            wait_for(lambda: httpx.get(f"{url}/v1/models").json()["data"][0]["id"] == "new")
            name, scores = answer_of(url)
        finally:
            released.set()
        assert name == "new"
        np.testing.assert_allclose(scores, scores_of(shared_bundle), atol=1e-5)
        assert before.result()[0] == "shop"
        assert infer.result().json()["model_name"] == "shop"
        assert reloading.result().json()["model"] == "new"


class FakeRanker:
    def __init__(self):
        self.closed = False

    def close(self):
        self.closed = True


class FakeService:
    """Loads nothing; keeps what it was told to serve."""

    def __init__(self, faults=()):
        self.name, self.bundle = "shop", "first"
        self.faults = list(faults)
        self.loaded = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self, bundle):
        await self.gate.wait()
        if self.faults:
            raise self.faults.pop(0)
        self.loaded.append((bundle, FakeRanker()))
        return self.loaded[-1][1]

    async def replace(self, fresh, name):
        self.bundle = next(bundle for bundle, ranker in self.loaded if ranker is fresh)
        self.name = name
        return {}


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(control, "_LOOK_EVERY_S", 0.01)


async def comes(condition):
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about")


def worker(tmp_path):
    return Control(str(tmp_path / "control"), "first", "shop")


def test_two_reloads_that_cross_end_with_the_same_bundle_everywhere(tmp_path, quick):
    async def cross():
        workers = [(worker(tmp_path), FakeService()) for _ in range(3)]
        for own, service in workers:
            own.watch(service)
        (one, first), (two, second), _ = workers
        for turn in range(5):
            first.gate.clear()
            reloads = [
                asyncio.create_task(one.reload(first, f"x{turn}", "")),
                asyncio.create_task(two.reload(second, f"y{turn}", "")),
            ]
            await comes(lambda turn=turn: second.bundle == f"y{turn}")
            first.gate.set()
            await asyncio.gather(*reloads)
            # What was announced last is served by all: the one whose loading took longer.
            await comes(lambda turn=turn: {service.bundle for _, service in workers} == {f"x{turn}"})
        for own, _ in workers:
            await own.close()

    asyncio.run(cross())


@pytest.mark.parametrize("fault", [RuntimeError("x"), MemoryError(), OSError(5, "x")], ids=lambda fault: repr(fault))
def test_a_worker_that_cannot_follow_says_so_and_tries_again(tmp_path, quick, fault, caplog):
    async def follow():
        (one, first), (two, second) = (worker(tmp_path), FakeService()), (worker(tmp_path), FakeService([fault]))
        two.watch(second)
        await one.reload(first, "next", "")
        await comes(lambda: second.bundle == "next")
        await one.close()
        await two.close()

    asyncio.run(follow())
    assert [record.message for record in caplog.records] == ["reload failed"]


def test_a_later_worker_begins_with_the_newest_and_one_alone_writes_nothing(tmp_path):
    async def announce():
        for bundle in ("a", "b"):
            await worker(tmp_path).reload(FakeService(), bundle, "")
        later = worker(tmp_path).begin()
        assert (later.generation, later.bundle, later.name) == (2, "b", "shop")
        alone, service = Control(None, "first", "shop"), FakeService()
        await alone.reload(service, "a", "renamed")
        assert (service.bundle, service.name) == ("a", "renamed")

    asyncio.run(announce())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["control.1", "control.2"]


def test_workers_that_cannot_be_told_keep_the_model(tmp_path):
    async def announce():
        own, service = Control(str(tmp_path / "gone" / "control"), "first", "shop"), FakeService()
        with pytest.raises(ReloadFailed, match="cannot be told"):
            await own.reload(service, "next", "")
        assert service.bundle == "first"
        assert service.loaded[0][1].closed

    asyncio.run(announce())


def test_closing_waits_for_a_reload_in_progress_and_begins_none(tmp_path):
    async def close():
        own, service = worker(tmp_path), FakeService()
        own.watch(service)
        service.gate.clear()
        asking = asyncio.create_task(own.reload(service, "next", ""))
        await asyncio.sleep(0)
        asking.cancel()
        closing = asyncio.create_task(own.close())
        await asyncio.sleep(0.05)
        assert not closing.done()
        service.gate.set()
        await closing
        assert service.bundle == "next"
        with pytest.raises(ReloadFailed, match="stopping"):
            await own.reload(service, "more", "")

    asyncio.run(close())
