"""The page a browser calls from: microphone in, WHIP offer out, and what it receives told back."""

import json
import re
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import httpx

PAGE = """<!doctype html><meta charset="utf-8"><title>call</title><audio autoplay></audio>
<script type="module">
const tell = (what) => fetch("/tell", {method: "POST", body: JSON.stringify(what)});
addEventListener("unhandledrejection", (event) => tell({error: String(event.reason)}));
const microphone = await navigator.mediaDevices.getUserMedia({audio: {
  echoCancellation: false, noiseSuppression: false, autoGainControl: false}});
const peer = new RTCPeerConnection();
for (const track of microphone.getTracks()) peer.addTrack(track, microphone);
peer.ontrack = (event) => {
  document.querySelector("audio").srcObject = event.streams[0] ?? new MediaStream([event.track]);
};
peer.onconnectionstatechange = () => tell({connected: peer.connectionState === "connected",
                                           state: peer.connectionState});
await peer.setLocalDescription(await peer.createOffer());
if (peer.iceGatheringState !== "complete") {
  await new Promise((done) => peer.addEventListener("icegatheringstatechange", () => {
    if (peer.iceGatheringState === "complete") done();
  }));
}
await tell({offer: peer.localDescription.sdp});
const answer = await fetch("/call", {method: "POST", body: peer.localDescription.sdp});
if (!answer.ok) throw new Error(`refused: ${answer.status} ${await answer.text()}`);
await peer.setRemoteDescription({type: "answer", sdp: await answer.text()});
setInterval(async () => {
  for (const report of (await peer.getStats()).values()) {
    if (report.type === "inbound-rtp") await tell({packetsReceived: report.packetsReceived,
      packetsLost: report.packetsLost, totalAudioEnergy: report.totalAudioEnergy});
    if (report.type === "outbound-rtp") await tell({packetsSent: report.packetsSent});
  }
}, 200);
</script>"""

ADDRESS = re.compile(rb"(a=candidate:\S+ \d \w+ \d+ )\S+( \d+ typ host)")


class CallerPage:
    """Serves the page on a free port, passes its offer on with the key, keeps what it tells."""

    def __init__(
        self, gateway: str, api_key: str, agent: str, *, hides_addresses: bool = False
    ) -> None:
        self._hides_addresses = hides_addresses
        self._sessions = f"{gateway}/v1/agents/{agent}/sessions"
        self._authorization = {"Authorization": f"Bearer {api_key}"}
        self._told: dict[str, Any] = {}
        self.errors: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="caller page", daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def latest(self, name: str) -> Any:
        """Return what the page told last under this name, None before that."""
        return self._told.get(name)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def call(self, offer: bytes) -> httpx.Response:
        """Pass an offer to the gateway as a page's own server would.

        A browser that was not granted the microphone names a `.local` name in place of each
        address (RFC 8828, mode 3); `hides_addresses` makes the offer such a one.
        """
        if self._hides_addresses:
            offer = ADDRESS.sub(rb"\g<1>%s.local\g<2>" % str(uuid.uuid4()).encode(), offer)
        headers = {**self._authorization, "Content-Type": "application/sdp"}
        return httpx.post(self._sessions, content=offer, headers=headers, timeout=20)

    def note(self, told: dict[str, Any]) -> None:
        """Keep what the page tells."""
        if "error" in told:
            self.errors.append(str(told["error"]))
        self._told.update(told)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(200 if self.path == "/" else 404, "text/html", PAGE.encode())

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/call":
                    answer = page.call(body)
                    kind = answer.headers.get("content-type", "text/plain")
                    self._answer(answer.status_code, kind, answer.content)
                else:
                    page.note(json.loads(body))
                    self._answer(204, "text/plain", b"")

            def _answer(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        return Handler
