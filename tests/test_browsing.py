"""The page over a warehouse (`marquee browse`): what its views show, and what it refuses."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from urllib.parse import urlencode

import pytest
from starlette.testclient import TestClient

from browsing.app import application, link
from browsing.guard import COOKIE
from browsing.server import bound
from browsing.titles import wilson
from inference.checkpoint import Checkpoint
from schemas.contract import ContractError
from schemas.exit_codes import REFUSED
from schemas.settings import Settings
from schemas.tables import ARTWORK_SELECTIONS, MADE, SERVED
from tests.browsing_data import CAPTION, DEAD, HOSTILE, SVG, URIS, make_warehouse
from tests.conftest import RunMarquee
from tests.page_text import page_text
from tests.test_serving import DS

HOST = "http://127.0.0.1"
TOKEN = "a long öne"


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_warehouse(tmp_path_factory.mktemp("browsing"))


@pytest.fixture(scope="module")
def client(warehouse: Path) -> TestClient:
    config = Settings(warehouse=str(warehouse), registry=None)
    return TestClient(application(config), HOST, raise_server_exceptions=False)


def text(client: TestClient, page: str, status: int = 200, **parameters: str) -> str:
    answer = client.get(link(page, **parameters))
    assert answer.status_code == status
    return page_text(answer.text)


def test_a_user_sees_a_row_with_the_most_wanted_title_first(client: TestClient) -> None:
    page = text(client, "user", id="42")
    assert "Leading themes: crime drama" in page
    assert "Big (1988): comedy Ran (1985): war left early" in page
    assert page.index("<i>Odd</i>") < page.index("Heat (1995)")
    assert "explores" in page
    assert "25 %" in page.replace("\xa0", " ")
    html = client.get(link("user", id="42")).text
    assert f'src="{DEAD}" data-drawn="/image?artwork=a2" alt="A dark wide shot"' in html


def test_a_user_whom_no_model_was_asked_about_has_viewings_from_the_history(client: TestClient) -> None:
    page = text(client, "user", id="explorer")
    assert "exploring user" in page
    assert "Heat (1995) From the viewing history" in page


def test_a_pair_is_explained_as_by_explain_alone_or_within_a_page(client: TestClient) -> None:
    address = link("pair", user="42", title="7")
    page = page_text(client.get(address).text)
    for expected in (
        "gave each of the 2 artworks a probability",
        f"Scored by tiny-1 in the night of {DS}: the champion.",
        "The draw explored: the model preferred another artwork.",
        "This is what a user without history sees.",
        "Choose the artwork that the user is most likely to play.",
    ):
        assert expected in page
    part = client.get(address, headers={"HX-Request": "true"}).text
    assert part.startswith("<article")
    assert "<html" not in part


def test_a_pair_as_it_was_after_an_earlier_night(client: TestClient) -> None:
    earlier = client.get(link("pair", user="42", title="7", ds="2026-01-13"))
    assert "The artwork is the model&#39;s first choice." in earlier.text
    assert "has no choice" in text(client, "pair", 404, user="42", title="7", ds="2020-01-01")


def test_a_title_says_who_sees_which_artwork_what_is_liked_and_what_is_played(client: TestClient) -> None:
    page = text(client, "title", id="7").replace("\xa0", " ")
    # Three of five users see a1; the model's mean for it is 0.75; one of two draws was played.
    low, high = wilson(0.5, 2)
    for expected in (
        "Of 5 users with a choice for this title.",
        f"A warm close-up Seen by 60 % Liked 75 % Played 50 % {100 * low:.0f} % to {100 * high:.0f} %, 2 shown",
        "A dark wide shot Seen by 40 % Liked 25 % Played –",
        # User 42 and two others lead with crime; one leads with comedy, who sees a1.
        "crime 3 67 % 33 %",
        "comedy 1 100 % 0 %",
    ):
        assert expected in page


def test_a_play_rates_interval_is_wilsons() -> None:
    # Newcombe (1998), table I: 81 of 263.
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_a_night_says_what_came_changed_and_was_rejected(client: TestClient) -> None:
    page = text(client, "night", ds=str(DS))
    for expected in (
        "titles 200 2",
        "maintain failed. <b>it</b> broke",
        "titles name_blank `name` has at least one visible character 2",
        "coverage 0 0.1 passed",
        "model 3 1 0 2",
        "Heat (1995) 3 1 0 2",
        "no artwork",
    ):
        assert expected in page
    html = client.get(link("night", ds=str(DS))).text
    assert f'href="/pair?user=42&amp;title=7&amp;ds={DS}"' in html
    only = client.get(link("night", ds=str(DS), title=HOSTILE)).text
    assert only.count('class="poster"') == 1


def test_the_pairs_of_a_night_continue_after_a_user_and_title(client: TestClient) -> None:
    following = client.get(link("night", ds=str(DS), after_user="42", after_title="7")).text
    assert "user=42&amp;title=7&amp;ds" not in following
    assert "user=explorer" in following
    assert "user=1&" not in following


def test_the_home_page_leads_to_a_user_and_to_nights(client: TestClient) -> None:
    html = client.get("/").text
    assert 'href="/user?id=42"' in html
    assert f'href="/night?ds={DS}"' in html
    assert "published; maintain failed" in html


@pytest.mark.parametrize(
    ("words", "found"),
    [("42", "/user?id=42"), ("heat", "/title?id=7"), ("7", "/title?id=7"), ("dark WIDE", "/title?id=7")],
)
def test_a_search_finds_users_titles_and_artworks(client: TestClient, words: str, found: str) -> None:
    assert f'href="{found}"' in client.get(link("search", q=words)).text
    assert "Nothing. Users" in text(client, "search", q=f"{words} and nothing like it")


def test_models_without_a_registry_are_those_that_scored(client: TestClient) -> None:
    page = text(client, "models")
    assert "There is no registry" in page
    assert f"{DS} tiny-1 the champion" in page


def test_models_have_their_verdicts_and_evaluations(warehouse: Path, tmp_path: Path) -> None:
    from training.registry import Registry

    (tmp_path / "report.html").write_text("<!doctype html><title>The evaluation</title>")
    address = f"sqlite:///{tmp_path}/registry.db"
    registry = Registry(address)
    checkpoint = Checkpoint(tmp_path, "tiny", "tiny@0123456789ab", (), 512, 64, 1)
    registry.promote(registry.register(checkpoint, tags={"verdict": "promoted: <b>+0.02</b>"}))
    client = TestClient(application(Settings(warehouse=str(warehouse), registry=address)), HOST)
    assert "tiny@0123456789ab champion promoted: <b>+0.02</b>" in text(client, "models")
    report = client.get(link("report", version="1"))
    assert "The evaluation" in report.text
    assert "sandbox" in report.headers["Content-Security-Policy"]
    assert "no evaluation page" in text(client, "report", 404, version="../1")


IDS = [HOSTILE, "", "..", "/etc/passwd", "a" * 9_000, "o'x", "x' OR '1'='1", "\x00", "%s{{7*7}}", "\ufffd"]


@pytest.mark.parametrize("identity", IDS, ids=lambda each: ascii(each)[:20])
def test_an_id_is_text_wherever_it_stands(client: TestClient, identity: str) -> None:
    for page, names in (("user", ["id"]), ("title", ["id"]), ("pair", ["user", "title"]), ("search", ["q"])):
        answer = client.get(link(page, **dict.fromkeys(names, identity)))
        assert answer.status_code in (200, 404)
        assert "<script>a" not in answer.text
        assert "%s49" not in answer.text
    assert client.get(link("image", artwork=identity)).status_code == 404


def test_a_hostile_id_leads_from_page_to_page(client: TestClient) -> None:
    assert "User <script>alert" in text(client, "user", id=HOSTILE)
    assert "Why user 42 sees this artwork of <i>Odd</i>" in text(client, "pair", user="42", title=HOSTILE)
    assert "It is the only artwork" in text(client, "pair", user="42", title=HOSTILE)
    encoded = urlencode({"user": "42", "title": HOSTILE}).replace("&", "&amp;").replace("'", "&#39;")
    assert f'hx-get="/pair?{encoded}"' in client.get(link("user", id="42")).text


def test_an_image_is_a_file_of_the_folder_of_images(client: TestClient) -> None:
    answer = client.get("/image?artwork=a1")
    assert (answer.status_code, answer.content) == (200, SVG)
    assert answer.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("artwork_id", [each for each in URIS if each != "a1"])
def test_whatever_else_an_artwork_names_is_drawn_instead(client: TestClient, artwork_id: str) -> None:
    answer = client.get(link("image", artwork=artwork_id))
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "image/svg+xml"
    assert "secret" not in answer.text
    assert "root:" not in answer.text


def test_a_drawing_has_the_caption_as_text(client: TestClient) -> None:
    answer = client.get("/image?artwork=missing")
    assert "<b>" not in answer.text
    assert " ".join(page_text(f"</head>{answer.text}").split()) == CAPTION


@pytest.mark.parametrize("path", ["/images/a1.svg", "/static/../app.py", "/static/%2e%2e/app.py", "/user/42"])
def test_no_path_leads_to_another_file(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert "secret" not in answer.text


@pytest.mark.parametrize("path", ["/", "/user?id=42", "/image?artwork=a1", "/nowhere", "/static/style.css"])
def test_every_answer_keeps_the_page_to_itself(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "no-referrer")


def test_it_only_reads(client: TestClient) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert client.request(method, "/user?id=42").status_code == 405


def test_without_a_token_no_other_name_leads_here(client: TestClient) -> None:
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert client.get("/", headers={"Host": "localhost:8765"}).status_code == 200


@pytest.fixture
def locked(warehouse: Path) -> TestClient:
    return TestClient(application(Settings(warehouse=str(warehouse)), TOKEN), "http://any.example")


def test_a_token_is_asked_for_once(locked: TestClient) -> None:
    assert locked.get("/user?id=42").status_code == 401
    assert "Drama" not in locked.get("/image?artwork=a1").text
    wrong = locked.get("/user?id=42&token=wrong")
    assert wrong.status_code == 401
    assert "That is not the token" in wrong.text
    right = locked.get("/user", params={"id": "42", "token": TOKEN}, follow_redirects=False)
    assert (right.status_code, right.headers["location"]) == (303, "/user?id=42")
    assert "HttpOnly" in right.headers["set-cookie"]
    assert TOKEN not in right.headers["set-cookie"]
    assert "Leading themes" in locked.get("/user?id=42").text


def test_a_forged_cookie_and_a_path_to_another_host_do_not_pass(locked: TestClient) -> None:
    locked.cookies.set(COOKIE, TOKEN.encode().hex())
    assert locked.get("/").status_code == 401
    answer = locked.get(f"//evil.example/x?{urlencode({'token': TOKEN})}", follow_redirects=False)
    assert not answer.headers["location"].startswith("//")


def test_an_address_for_others_is_refused_without_a_token(
    marquee: RunMarquee, warehouse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for host in ("0.0.0.0", "::"):
        assert marquee("browse", "--host", host, "--warehouse", str(warehouse)) == REFUSED
        error = capsys.readouterr().err
        assert error.startswith(f"marquee browse: --host {host} lets other machines read the tables; give --token")
    assert marquee("browse", "--token", " ", "--warehouse", str(warehouse)) == REFUSED
    bound("0.0.0.0", 0, TOKEN).close()


def test_a_port_in_use_is_one_sentence() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ContractError, match=r"--port \d+: Address already in use"),
    ):
        bound("127.0.0.1", taken.getsockname()[1], None)


@pytest.mark.parametrize("page", ["/", "/user?id=42", "/title?id=7", f"/night?ds={DS}", "/pair?user=4&title=7"])
def test_a_warehouse_without_a_night_says_what_to_run(tmp_path: Path, page: str) -> None:
    client = TestClient(application(Settings(warehouse=str(tmp_path))), HOST)
    answer = client.get(page)
    assert answer.status_code == 404
    # An unknown title is no more than that.
    assert f"marquee night --warehouse {tmp_path}" in answer.text or "no title" in answer.text


def test_a_table_that_cannot_be_read_is_one_sentence(warehouse: Path, tmp_path: Path) -> None:
    broken = tmp_path / "warehouse"
    shutil.copytree(warehouse, broken, symlinks=True)
    log = broken / ARTWORK_SELECTIONS.name / "_delta_log"
    for file in log.iterdir():
        file.write_text("not a log")
    client = TestClient(application(Settings(warehouse=str(broken))), HOST)
    answer = client.get("/user?id=42")
    assert answer.status_code == 503
    assert "artwork_selections:" in answer.text
    assert "marquee doctor" in answer.text


@pytest.mark.parametrize("query", ["", "?ds=now", "?ds=2026-01-14%00", "?ds=1970-01-01"])
def test_a_night_that_is_none_is_one_sentence(client: TestClient, query: str) -> None:
    assert client.get(f"/night{query}").status_code == 404


def test_pages_survive_the_absence_of_each_table(warehouse: Path, tmp_path: Path) -> None:
    """A warehouse of an earlier version of Marquee lacks some."""
    for table in (*MADE, *SERVED):
        without = tmp_path / table.name
        without.mkdir()
        for each in warehouse.iterdir():
            if each.name != table.name:
                (without / each.name).symlink_to(each)
        client = TestClient(application(Settings(warehouse=str(without), registry=None)), HOST)
        for page in ("/user?id=42", "/title?id=7", f"/night?ds={DS}"):
            assert client.get(page).status_code in (200, 404), (table.name, page)
