"""The server: what it answers, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from robopref.label.access import COOKIE, LARGEST_BODY, is_loopback
from robopref.label.server import create_app
from robopref.label.store import BusyError, Store
from tests.label.conftest import labelling, pairs

JSON = "application/json"
HERE, AWAY = "http://127.0.0.1:8765", "http://lab.example:8765"


@pytest.fixture
def here(store: Store, tmp_path: Path) -> TestClient:
    """A client on the server's own machine."""
    store.add_questions(pairs(4))
    return TestClient(create_app(labelling(store, tmp_path)), HERE)


@pytest.fixture
def away(store: Store, tmp_path: Path) -> Any:
    """Makes clients of a server on another address: of a person, or of nobody."""
    store.add_questions(pairs(6))
    app = create_app(labelling(store, tmp_path, "0.0.0.0"))

    def client(name: str = "") -> TestClient:
        found = TestClient(app, AWAY)
        if name:
            assert found.get(f"/a/{store.new_token(name)}").status_code == 200
        return found

    return client


def post(client: TestClient, path: str, body: Any = None, **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps({} if body is None else body)
    return client.post(
        path, content=content, headers={"Content-Type": "application/json", **headers}
    )


def answered(client: TestClient, place: int, **changes: Any) -> Any:
    body = {"place": place, "client_id": f"client-{place:04}", "answer": {"choice": "first"},
            "response_time_s": 1.0, **changes}  # fmt: skip
    return post(client, "/api/answers", body)


def test_a_session(here: TestClient, store: Store) -> None:
    assert here.get("/api/session").json() == {
        "annotator": "owner", "owner": True, "title": "walks.hdf5", "instructions": "",
        "best_score": 10,
    }  # fmt: skip
    question = post(here, "/api/next").json()["next"]
    assert question["kind"] == "pair" and question["items"][0]["video"] == "videos/0-0-12.mp4"
    assert question["items"][0]["steps"] == 12 and question["items"][0]["steps_per_frame"] == 1
    for number in range(4):
        found = answered(here, question["place"], reason="so").json()
        assert (found["stored"], found["answered"], found["left"]) == (True, number + 1, 3 - number)
        question = found["next"]
    assert question is None and post(here, "/api/next").json()["next"] is None
    undone = post(here, "/api/undo").json()
    assert undone["answered"] == 3 and undone["next"]["place"] == 4
    people = here.get("/api/statistics").json()["people"]
    assert people == [
        {"name": "owner", "answers": 3, "skipped": 0, "median_time_s": 1.0, "left_share": 1.0,
         "repeated": 0, "consistency": None}
    ]  # fmt: skip
    assert len(store.answers()) == 3


def test_videos_of_own_and_coming_questions_alone(here: TestClient) -> None:
    assert here.get("/videos/0-0-12.mp4").status_code == 404  # not asked yet
    question = post(here, "/api/next").json()["next"]
    for address in [item["video"] for item in question["items"]] + question["coming"]:
        video = here.get(f"/{address}")
        assert video.status_code == 200 and video.headers["content-type"] == "video/mp4"
    assert here.get("/videos/0-0-12.mp4", headers={"Range": "bytes=1-2"}).content == b"id"
    for wrong in ("19-0-12", "..%2F..%2Fetc%2Fpasswd", "0-0-12%00", "%2e%2e/labels.db"):
        assert here.get(f"/videos/{wrong}.mp4").status_code == 404
    for wrong in ("../server.py", "..%2fserver.py", "label.py", "%2e%2e%2fstore.py"):
        assert here.get(f"/static/{wrong}").status_code == 404
    assert here.get("/docs").status_code == here.get("/openapi.json").status_code == 404


def test_pages_and_their_headers(here: TestClient) -> None:
    for path in ("/", "/static/label.js", "/static/label.css", "/api/session", "/nothing"):
        headers = here.get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
    assert "<script type" in here.get("/").text and "style=" not in here.get("/").text


def test_delivered_again_after_the_connection_broke(here: TestClient, store: Store) -> None:
    place = post(here, "/api/next").json()["next"]["place"]
    first, again = answered(here, place), answered(here, place)
    assert first.status_code == again.status_code == 200 and len(store.answers()) == 1
    assert again.json()["next"] == {**first.json()["next"], "until": again.json()["next"]["until"]}
    other = answered(here, place, client_id="another-one", answer={"choice": "second"})
    assert other.status_code == 409 and len(store.answers()) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"answer": {"choice": "third"}}, {"answer": "first"}, {"answer": {}}, {"place": "1"},
        {"place": 0}, {"place": 2**70}, {"client_id": "short"}, {"client_id": "x" * 65},
        {"client_id": "a/../../b"}, {"response_time_s": -1}, {"response_time_s": float("nan")},
        {"reason": "x" * 2_001}, {"more": 1},
    ],
)  # fmt: skip
def test_wrong_answers_are_refused(here: TestClient, store: Store, changes: dict[str, Any]) -> None:
    place = post(here, "/api/next").json()["next"]["place"]
    assert answered(here, **{"place": place, **changes}).status_code == 422
    assert store.answers() == []


def test_bodies(here: TestClient) -> None:
    assert post(here, "/api/next", b"x" * (LARGEST_BODY + 1)).status_code == 413

    def stream() -> Any:
        for _ in range(30):
            yield b"x" * 1_000

    headers = {"Content-Type": "application/json"}
    assert here.post("/api/answers", content=stream(), headers=headers).status_code == 413
    for body in (b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"place": 1e999}', b"[" * 10_000):
        assert post(here, "/api/answers", body).status_code in (400, 422)


def test_other_sites_cannot_send(here: TestClient) -> None:
    assert post(here, "/api/next", None, Origin="https://evil.example").status_code == 403
    assert post(here, "/api/next", None, Origin="null").status_code == 403
    assert post(here, "/api/next", None, Origin=HERE).status_code == 200
    assert here.post("/api/next", data={"a": "form"}).status_code == 415
    assert (
        here.post("/api/next", content="{}", headers={"Content-Type": "text/plain"}).status_code
        == 415
    )
    # A site whose name was made to point at this machine.
    assert here.get("/api/session", headers={"Host": "evil.example"}).status_code == 421


def test_on_another_address_people_need_their_links(away: Any, store: Store) -> None:
    stranger = away()
    for path in ("/api/session", "/api/statistics", "/videos/0-0-12.mp4"):
        assert stranger.get(path).status_code == 401
    for path in ("/api/next", "/api/undo"):
        assert post(stranger, path).status_code == 401
    assert stranger.get("/a/wrong").status_code == 403
    for forged in ("", "wrong", "0" * 64, "x" * 10_000):
        cookies = {"Cookie": f"{COOKIE}={forged}"}
        assert stranger.get("/api/session", headers=cookies).status_code in (401, 422)
    secret = store.new_token("ana")
    entered = away().get(f"/a/{secret}", follow_redirects=False)
    cookie = entered.headers["set-cookie"].lower()
    assert entered.status_code == 303 and "httponly" in cookie and "samesite=strict" in cookie


def test_people_see_their_own_alone(away: Any) -> None:
    owner, ana, ben = away("owner"), away("ana"), away("ben")
    of_ana, of_ben = post(ana, "/api/next").json()["next"], post(ben, "/api/next").json()["next"]
    assert of_ana["place"] != of_ben["place"]
    assert answered(ben, of_ana["place"]).status_code == 409  # another person's question
    answered(ana, of_ana["place"])
    assert answered(ben, of_ana["place"], client_id="client-0001").status_code == 409
    assert post(ben, "/api/undo").json()["answered"] == 0
    assert ben.get(f"/{of_ana['items'][1]['video']}").status_code in (200, 404)
    assert [p["name"] for p in ana.get("/api/statistics").json()["people"]] == ["ana"]
    assert ben.get("/api/statistics").json()["people"] == []
    everything = owner.get("/api/statistics").json()
    assert [p["name"] for p in everything["people"]] == ["ana"] and "questions" in everything[
        "agreement"
    ]


def test_scripts_in_names_and_reasons_stay_text(away: Any, store: Store) -> None:
    name, reason = "<img src=x onerror=alert(1)>", "<script>alert(2)</script>"
    client = away(name)
    answered(client, post(client, "/api/next").json()["next"]["place"], reason=reason)
    session = client.get("/api/session")
    assert session.headers["content-type"] == "application/json"
    assert session.json()["annotator"] == name and store.answers()[0].reason == reason
    script = Path("robopref/label/static/label.js")
    text = (Path(__file__).parents[2] / script).read_text(encoding="utf-8")
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in text


def test_too_many_requests(away: Any) -> None:
    client = away("ana")
    codes = [client.get("/api/session").status_code for _ in range(200)]
    assert codes[0] == 200 and codes[-1] == 429
    assert away("ben").get("/api/session").status_code == 200


def test_guessing_links_has_a_limit(away: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("robopref.label.access.PEOPLE", 0.5)
    stranger = away()
    codes = [stranger.get(f"/a/guess-{number}").status_code for number in range(120)]
    assert codes[0] == 403 and codes[-1] == 429


def test_a_full_disk_is_no_lost_answer(here: TestClient, store: Store, monkeypatch: Any) -> None:
    place = post(here, "/api/next").json()["next"]["place"]

    def full(*arguments: Any) -> None:
        raise BusyError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "answer", full)
        refused = answered(here, place)
    assert refused.status_code == 503 and refused.headers["retry-after"] == "2"
    assert answered(here, place).json()["stored"] and len(store.answers()) == 1


def test_which_addresses_are_this_machine() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "localhost.evil.example", "")))
