"""
DICOMweb beside Debian's Orthanc with its DICOMweb plugin, in the same run (PERFORMANCE section 2).

Ours over HTTPS with a token, everything on; Orthanc in clear text without a password. Both hold the same study of 150 CT
images of 526 KB and the same multi-frame object; requests take turns, medians are compared. `--json FILE` keeps every
figure, `--only LINE` measures one line.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import peers
from images import Template, multi_frame, uid
from rich.console import Console
from rich.table import Table

STUDY_IMAGES = 150
DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'
JSON = "application/dicom+json"
FRAME = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'


@dataclass(frozen=True)
class Web:
    """How a web client reaches one archive."""

    port: int
    root: str
    tls: ssl.SSLContext | None
    headers: dict[str, str]

    def connect(self) -> http.client.HTTPConnection:
        """Open one connection; it is used for many requests."""
        if self.tls is not None:
            return http.client.HTTPSConnection("localhost", self.port, context=self.tls, timeout=60)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)


def get(connection: http.client.HTTPConnection, web: Web, path: str, accept: str) -> int:
    """Read the whole answer and return its length in bytes."""
    connection.request("GET", web.root + path, headers={**web.headers, "Accept": accept})
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(
            f"GET {path.split('?', maxsplit=1)[0].count('/')} levels deep: {answer.status} {answer.read(300)!r}"
        )
    buffer, length = bytearray(1 << 20), 0
    while count := answer.readinto(buffer):
        length += count
    return length


def timed(web: Web, path: str, accept: str, times: int) -> list[tuple[float, int]]:
    """(seconds, bytes) of *times* requests on one connection, the first one not counted."""
    connection = web.connect()
    figures = []
    for number in range(times + 1):
        began = time.perf_counter()
        length = get(connection, web, path, accept)
        if number:
            figures.append((time.perf_counter() - began, length))
    connection.close()
    return figures


def store(web: Web, files: list[Path], at_once: int = 25) -> float:
    """STOW-RS of *files*, *at_once* in a request, on one connection; instances per second."""
    connection = web.connect()
    kind = 'multipart/related; type="application/dicom"; boundary=bench'
    began = time.perf_counter()
    for first in range(0, len(files), at_once):
        parts = [
            b"--bench\r\nContent-Type: application/dicom\r\n\r\n" + path.read_bytes() + b"\r\n"
            for path in files[first : first + at_once]
        ]
        body = b"".join(parts) + b"--bench--\r\n"
        connection.request("POST", f"{web.root}/studies", body, {**web.headers, "Content-Type": kind, "Accept": JSON})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"STOW-RS was answered {answer.status}: {text[:300]!r}")
    connection.close()
    return len(files) / (time.perf_counter() - began)


def search_beside_a_pull(web: Web, study: str, seconds: float = 6.0) -> list[float]:
    """Seconds of each of many searches while another client pulls the study again and again at full speed."""
    code = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); import web\n"
        "one = web.from_json(sys.stdin.read())\n"
        "c = one.connect()\n"
        "import time; end = time.monotonic() + float(sys.argv[2])\n"
        "n = 0\n"
        "while time.monotonic() < end: n += web.get(c, one, sys.argv[3], web.DICOM)\n"
        "print(n)\n"
    )
    puller = subprocess.Popen(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(seconds + 1), f"/studies/{study}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert puller.stdin is not None
    puller.stdin.write(to_json(web))
    puller.stdin.close()
    time.sleep(1.0)
    connection, figures, end = web.connect(), [], time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        get(connection, web, "/studies?PatientName=*&limit=10", JSON)
        figures.append(time.perf_counter() - began)
        time.sleep(0.01)
    connection.close()
    puller.wait(30)
    return figures


def to_json(web: Web) -> str:
    """What another process needs to reach the same archive."""
    return json.dumps(
        {"port": web.port, "root": web.root, "headers": web.headers, "ca": web.tls is not None and _CA[web.port]}
    )


_CA: dict[int, str] = {}


def from_json(text: str) -> Web:
    """The other side of `to_json`."""
    fields = json.loads(text)
    context = ssl.create_default_context(cafile=fields["ca"]) if fields["ca"] else None
    return Web(fields["port"], fields["root"], context, fields["headers"])


def main() -> None:
    """Run every line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=9, help="requests of each kind and peer")
    parser.add_argument("--only", action="append", choices=("retrieve", "metadata", "frame", "search", "store"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    chosen = options.only or ["retrieve", "metadata", "frame", "search", "store"]
    base = options.folder or Path(__file__).resolve().parents[2] / "bench-data"
    base.mkdir(parents=True, exist_ok=True)
    console = Console()
    with tempfile.TemporaryDirectory(dir=base) as work:
        rows = Bench(Path(work), options.times, console).run(chosen)
    report(rows, console)
    if options.json:
        options.json.write_text(json.dumps({"when": datetime.now(UTC).isoformat(), "lines": rows}, indent=2))


Row = dict[str, str | float | None]


class Bench:
    """The two archives with the same data, and the lines that are measured on them."""

    def __init__(self, work: Path, times: int, console: Console) -> None:
        self.work, self.times, self.console = work, times, console
        generator = random.Random(time.time_ns())
        self.template = Template()
        self.study = uid(generator)
        self.images = self.template.write(work / "study", STUDY_IMAGES, generator.randrange(10**9), study=self.study)
        self.many = work / "many"
        self.many.mkdir()
        self.frames = multi_frame(self.many / "m.dcm", generator, frames=500)

    def run(self, chosen: list[str]) -> list[Row]:
        """Every chosen line, on both archives at the same time of day."""
        rows: list[Row] = []
        ours_folder, theirs_folder = peers.clean(self.work / "ours"), peers.clean(self.work / "theirs")
        with peers.strongroom(ours_folder, web=True) as ours, peers.orthanc(theirs_folder) as theirs:
            for receiver in (ours, theirs):
                peers.send(receiver, self.images)
                peers.send(receiver, self.many)
            context = ssl.create_default_context(cafile=str(ours.ca))
            mine = Web(ours.web_port, "/dicom-web", context, {"Authorization": f"Bearer {ours.token}"})
            _CA[mine.port] = str(ours.ca)
            other = Web(theirs.web_port, "/dicom-web", None, {})
            time.sleep(3.0)  # both have their quiet moment: caches of metadata are made then
            for line in chosen:
                self.console.print(f"  {line} ...", highlight=False)
                rows += getattr(self, f"_{line}")(mine, other, ours)
        return rows

    def _pair(self, path: str, accept: str, mine: Web, other: Web) -> tuple[list, list]:
        ours, theirs = [], []
        for _ in range(3):
            ours += timed(mine, path, accept, max(1, self.times // 3))
            theirs += timed(other, path, accept, max(1, self.times // 3))
        return ours, theirs

    def _retrieve(self, mine: Web, other: Web, _ours: peers.Receiver) -> list[Row]:
        ours, theirs = self._pair(f"/studies/{self.study}", DICOM, mine, other)
        speeds = [[length / seconds / 1e6 for seconds, length in side] for side in (ours, theirs)]
        return [row("WADO-RS study, 150 instances, MB/s", *speeds, target=1.4)]

    def _metadata(self, mine: Web, other: Web, _ours: peers.Receiver) -> list[Row]:
        ours, theirs = self._pair(f"/studies/{self.study}/metadata", JSON, mine, other)
        rates = [[1 / seconds for seconds, _ in side] for side in (ours, theirs)]
        return [row("/metadata of 150 instances, requests/s", *rates, target=10)]

    def _frame(self, mine: Web, other: Web, _ours: peers.Receiver) -> list[Row]:
        study, series, instance = self.frames
        path = f"/studies/{study}/series/{series}/instances/{instance}/frames/321"
        ours, theirs = self._pair(path, FRAME, mine, other)
        milliseconds = [[seconds * 1000 for seconds, _ in side] for side in (ours, theirs)]
        return [row("one frame of 500, ms", *milliseconds, below=5.0)]

    def _search(self, mine: Web, _other: Web, _ours: peers.Receiver) -> list[Row]:
        figures = sorted(search_beside_a_pull(mine, self.study))
        p99 = figures[int(len(figures) * 0.99)] * 1000
        median = statistics.median(figures) * 1000
        return [
            row("JSON search beside a full pull, p99 ms", [p99], None, below=30.0),
            row("JSON search beside a full pull, median ms", [median], None),
        ]

    def _store(self, mine: Web, _other: Web, ours: peers.Receiver) -> list[Row]:
        stow, cstore = [], []
        for run in range(4):
            for kind, rates in (("stow", stow), ("cstore", cstore)):
                files = self.template.write(self.work / "new", 300, time.time_ns() % 10**9)
                rate = store(mine, sorted(files.iterdir())) if kind == "stow" else 300 / peers.send(ours, files)
                shutil.rmtree(files)
                if run:
                    rates.append(rate)
        return [row("STOW-RS beside our C-STORE, images/s", stow, cstore, target=0.8)]


def row(
    what: str, ours: list[float], theirs: list[float] | None, *, target: float | None = None, below: float | None = None
) -> Row:
    """One line of the table: medians, spread, ratio, whether the target is reached."""
    mine = statistics.median(ours)
    other = statistics.median(theirs) if theirs else None
    reached = None
    if target is not None and other:
        reached = mine / other >= target
    elif below is not None:
        reached = mine < below
    return {
        "what": what,
        "ours": mine,
        "lowest": min(ours),
        "highest": max(ours),
        "peer": other,
        "ratio": mine / other if other else None,
        "target": f">= {target:g}x" if target is not None else (f"< {below:g}" if below is not None else ""),
        "reached": None if reached is None else ("reached" if reached else "NOT reached"),
    }


def report(rows: list[Row], console: Console) -> None:
    """Print the table."""
    table = Table(
        title="DICOMweb: ours over HTTPS with a token; peer: Orthanc in clear text (STOW: our own C-STORE over TLS)"
    )
    for heading in ("what", "ours", "lowest", "highest", "peer", "ratio", "target", ""):
        table.add_column(heading, justify="left" if heading in ("what", "") else "right")
    for one in rows:
        cells = [
            f"{one[key]:.1f}" if isinstance(one[key], float) else "" for key in ("ours", "lowest", "highest", "peer")
        ]
        ratio = f"{one['ratio']:.2f}" if isinstance(one["ratio"], float) else ""
        table.add_row(str(one["what"]), *cells, ratio, str(one["target"]), str(one["reached"] or ""))
    console.print(table)


if __name__ == "__main__":
    main()
