"""A film in pieces: a player with a cookie jar follows a playlist's relative links, under cookies for one folder."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from http.cookiejar import Cookie, CookieJar
from typing import NamedTuple
from urllib.parse import urljoin

import pytest

from tests.edge.cloudfront.conftest import CloudFront
from tests.gate import Gate

PLAYLIST = "application/vnd.apple.mpegurl"
SEGMENT = "video/mp2t"
PIECES = {"low": [b"l0" * 500, b"l1" * 300], "high": [b"h0" * 900, b"h1" * 700]}

MASTER = """#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=800000
low/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=2400000
./high/index.m3u8
"""


class Got(NamedTuple):
    """An answer as a player has it."""

    status: int
    headers: Message
    body: bytes


class Player:
    """Follows links as browsers and players do, and sends the cookies that its jar has for a URL."""

    def __init__(self, base: str, cookies: dict[str, str], path: str = "/") -> None:
        self._jar = CookieJar()
        host = base.partition("://")[2].partition(":")[0]
        for name, value in cookies.items():
            self._jar.set_cookie(_cookie(name, value, host, path))
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._jar))

    def get(self, url: str, **headers: str) -> Got:
        """One request; a refusal is an answer like others."""
        try:
            with self._opener.open(urllib.request.Request(url, headers=headers), timeout=20) as response:
                return Got(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Got(error.code, error.headers, error.read())

    def links(self, url: str, **headers: str) -> Iterator[str]:
        """What a playlist names, as URLs; its type is one that players take."""
        got = self.get(url, **headers)
        assert (got.status, got.headers["content-type"]) == (200, PLAYLIST), got.body
        for line in got.body.decode().splitlines():
            if line and not line.startswith("#"):
                yield urljoin(url, line)


def _cookie(name: str, value: str, host: str, path: str) -> Cookie:
    return Cookie(
        0, name, value, None, False, host, False, False, path, True, False, None, True, None, None, {}
    )  # fmt: skip


def playlist(count: int, up: str) -> str:
    """A media playlist: pieces beside it, and one above."""
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:4"]
    for number in range(count):
        lines += ["#EXTINF:4,", f"piece-{number}.ts?v={number}"]
    return "\n".join([*lines, "#EXTINF:4,", f"../{up}", "#EXT-X-ENDLIST", ""])


@pytest.fixture(scope="module", autouse=True)
def _film(cloudfront: CloudFront) -> None:
    cloudfront.put("/films/one/master.m3u8", MASTER.encode(), PLAYLIST)
    cloudfront.put("/films/one/credits.ts", b"credits" * 100, SEGMENT)
    for quality, pieces in PIECES.items():
        text = playlist(len(pieces), "credits.ts")
        cloudfront.put(f"/films/one/{quality}/index.m3u8", text.encode(), PLAYLIST)
        for number, piece in enumerate(pieces):
            cloudfront.put(f"/films/one/{quality}/piece-{number}.ts", piece, SEGMENT)
    cloudfront.put("/films/two/master.m3u8", b"#EXTM3U\n", PLAYLIST)


def test_a_player_follows_relative_links_under_one_cookie(cloudfront: CloudFront, gate: Gate) -> None:
    """Master playlist, media playlists, pieces; each whole and by ranges, put together again."""
    player = Player(gate.base, cloudfront.cookies("/films/one/*"))
    variants = list(player.links(f"{gate.base}/films/one/master.m3u8"))
    assert [url.rpartition("/films/one/")[2] for url in variants] == ["low/index.m3u8", "high/index.m3u8"]
    for url, pieces in zip(variants, PIECES.values(), strict=True):
        urls = list(player.links(url))
        for link, piece in zip(urls, [*pieces, b"credits" * 100], strict=True):
            whole = player.get(link)
            assert (whole.status, whole.body) == (200, piece)
            assert whole.headers["content-type"] == SEGMENT
            assert whole.headers["x-content-type-options"] == "nosniff"
            assert "content-disposition" not in whole.headers
            first, rest = (player.get(link, Range=span) for span in ("bytes=0-99", "bytes=100-"))
            assert (first.status, rest.status, first.body + rest.body) == (206, 206, piece)
            assert first.headers["content-range"] == f"bytes 0-99/{len(piece)}"


def test_the_same_player_has_no_other_film(cloudfront: CloudFront, gate: Gate) -> None:
    player = Player(gate.base, cloudfront.cookies("/films/one/*"))
    other = player.get(f"{gate.base}/films/two/master.m3u8")
    assert (other.status, other.headers["x-valet-error"]) == (403, "path_not_allowed")
    assert b"<Code>AccessDenied</Code>" in other.body
    up = player.get(urljoin(f"{gate.base}/films/one/low/index.m3u8", "../../two/master.m3u8"))
    assert up.status == 403


def test_without_cookies_or_after_their_end_a_player_has_nothing(cloudfront: CloudFront, gate: Gate) -> None:
    url = f"{gate.base}/films/one/master.m3u8"
    assert Player(gate.base, {}).get(url).status == 401
    assert Player(gate.base, cloudfront.cookies("/films/*", seconds=-1)).get(url).status == 403
    # The jar itself sends cookies below their path alone.
    assert Player(gate.base, cloudfront.cookies("/films/*"), "/films/two/").get(url).status == 401


def test_a_canned_cookie_opens_the_playlist_and_no_piece(cloudfront: CloudFront, gate: Gate) -> None:
    url = f"{gate.base}/films/one/master.m3u8"
    said = dict(pair.split("=", 1) for pair in cloudfront.canned("/films/one/master.m3u8").partition("?")[2].split("&"))
    player = Player(gate.base, {f"CloudFront-{name}": value for name, value in said.items()})
    first = next(player.links(url))
    assert player.get(first).status == 403


def test_a_signed_playlists_links_are_not_signed(cloudfront: CloudFront, gate: Gate) -> None:
    """Relative links leave the query behind: that is what cookies are for."""
    player = Player(gate.base, {})
    first = next(player.links(cloudfront.custom("/films/one/master.m3u8", "/films/one/*")))
    assert player.get(first).status == 401
