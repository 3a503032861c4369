"""A page of a report or an audit in a browser: narrow, wide, light and dark, and its accessibility by Lighthouse.

    python benchmarks/report_page.py runs/paper/report.html  # half a minute; screenshots in its folder
    python benchmarks/report_page.py report.html --screenshots shots --modules ~/node  # keeps what npm installs

Needs node, npm and ``/usr/bin/chromium`` (``apt-get install -y chromium nodejs npm``); playwright-core and lighthouse
come from npm into a temporary folder. Prints console errors, requests other than for the page itself, the width of the
page and its window, parts with a scroll bar that the keyboard can't reach, and Lighthouse's score for accessibility.
Exits with 1 if there is an error, a request, an unreachable part or a page that scrolls sideways, if the toggle doesn't
work, or if accessibility is under 95.
"""

import functools
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import harness
from rich.console import Console
from rich.table import Table

CHROMIUM = "/usr/bin/chromium"
LEAST = 95  # of 100, Lighthouse's accessibility
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
LOOK = """
const { chromium } = require("playwright-core");
const [executablePath, url, shots, profile, ...args] = process.argv.slice(2);
const luminance = () => {
  const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
(async () => {
  const found = [];
  for (const width of [390, 1400]) for (const colorScheme of ["light", "dark"]) {
    const options = { executablePath, args, colorScheme, viewport: { width, height: 900 } };
    const context = await chromium.launchPersistentContext(`${profile}/${width}-${colorScheme}`, options);
    const page = await context.newPage();
    const errors = [], requests = [];
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) errors.push(message.text());
    });
    page.on("pageerror", (error) => errors.push(String(error)));
    page.on("request", (request) => { if (![url, "data:,"].includes(request.url())) requests.push(request.url()); });
    await page.goto(url, { waitUntil: "load" });
    await page.screenshot({ path: `${shots}/${width}-${colorScheme}.png`, fullPage: true });
    await page.evaluate(() => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
    const [scroll, client] = await page.evaluate(() =>
      ["scrollWidth", "clientWidth"].map((name) => document.documentElement[name]));
    const unreachable = await page.evaluate(() => [...document.querySelectorAll("body *")].filter((each) =>
      each.scrollWidth > each.clientWidth + 1 && ["auto", "scroll"].includes(getComputedStyle(each).overflowX)
      && each.tabIndex < 0).map((each) => each.outerHTML.slice(0, 80)));
    await page.screenshot({ path: `${shots}/${width}-${colorScheme}-open.png`, fullPage: true });
    const button = page.locator("#theme");  // an audit's page has no button: it follows the system
    let toggles = true;
    if (await button.count()) {
      const before = await page.evaluate(luminance);
      const label = await button.textContent();
      await button.click();
      const after = await page.evaluate(luminance);
      toggles = before > 128 !== after > 128 && label !== (await button.textContent())
        && before > 128 === (colorScheme === "light");
    }
    found.push({ width, colorScheme, errors, requests, scroll, client, unreachable, toggles });
    await context.close();
  }
  console.log(JSON.stringify(found));
})().catch((error) => { console.error(error); process.exit(1); });
"""


def install(folder: Path) -> None:
    """Install playwright-core and lighthouse in a folder, unless they are there already."""
    if not all((folder / "node_modules" / name).is_dir() for name in ("playwright-core", "lighthouse")):
        folder.mkdir(parents=True, exist_ok=True)
        names = ["playwright-core", "lighthouse"]
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent", *names], cwd=folder, check=True)  # noqa: S607


def look(page: Path, shots: Path, modules: Path, work: Path) -> list[dict[str, Any]]:
    """Open the page in each width and colour scheme; write screenshots, and return the findings."""
    script = modules / "look.cjs"
    script.write_text(LOOK)
    words = [CHROMIUM, page.resolve().as_uri(), str(shots.resolve()), str(work / "profiles"), *FLAGS]
    done = subprocess.run(["node", script, *words], check=True, capture_output=True, text=True, timeout=300)  # noqa: S607
    return json.loads(done.stdout)


def lighthouse(page: Path, modules: Path, work: Path) -> tuple[float, list[str]]:
    """Return Lighthouse's score for accessibility, 0 to 100, and the failed audits."""
    program = modules / "node_modules" / "lighthouse" / "cli" / "index.js"
    out = work / "lighthouse.json"
    with served(page) as url:
        words = [url, "--only-categories=accessibility", "--output=json", f"--output-path={out}", "--quiet"]
        words.append("--chrome-flags=" + " ".join((*FLAGS, f"--user-data-dir={work / 'lighthouse'}")))
        environment = {"CHROME_PATH": CHROMIUM, "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(work)}
        subprocess.run(["node", program, *words], check=True, timeout=300, env=environment)  # noqa: S607
    result = json.loads(out.read_text())
    weights = {each["id"]: each["weight"] for each in result["categories"]["accessibility"]["auditRefs"]}
    failed = [
        f"{audit['title']}: "
        + "; ".join(each["node"]["snippet"] for each in audit["details"]["items"] if "node" in each)
        for name, audit in result["audits"].items()
        if weights.get(name) and audit["score"] is not None and audit["score"] < 1 and "details" in audit
    ]
    return 100 * result["categories"]["accessibility"]["score"], failed


@contextmanager
def served(page: Path) -> Iterator[str]:
    """Serve the page's folder on the loopback, and yield the page's address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(page.resolve().parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/{page.name}"
    finally:
        server.shutdown()
        server.server_close()


def main() -> int:
    """Check the page, and return the exit status."""
    parser = harness.parser(__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--screenshots", type=Path, help="a folder; default: screenshots/ in the folder of the page")
    parser.add_argument(
        "--modules", type=Path, help="a folder to install npm packages in and keep; default: a temporary one"
    )
    args = parser.parse_args()
    if not args.page.is_file():
        parser.error(f"{args.page} is not there: pass the report.html of a report.")
    if missing := [name for name in ("node", "npm", CHROMIUM) if shutil.which(name) is None]:
        parser.error(f"{', '.join(missing)} is not there: apt-get install -y chromium nodejs npm")
    shots = args.screenshots or args.page.parent / "screenshots"
    shots.mkdir(parents=True, exist_ok=True)
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:  # Chromium may still write
        work = Path(name)
        modules = args.modules or work / "npm"
        install(modules)
        found = look(args.page, shots, modules, work)
        score, failed = lighthouse(args.page, modules, work)
    table = Table("window", "scheme", "console", "requests", "scrollWidth", "clientWidth", "unreachable", "toggle")
    bad = score < LEAST
    for each in found:
        counts = [len(each[key]) for key in ("errors", "requests", "unreachable")]
        bad |= any(counts) or each["scroll"] > each["client"] or not each["toggles"]
        figures = map(str, (*counts[:2], each["scroll"], each["client"], counts[2]))
        toggle = "works" if each["toggles"] else "BROKEN"
        table.add_row(f"{each['width']} px", each["colorScheme"], *figures, toggle)
    console.print(table)
    for line in sorted({line for each in found for key in ("errors", "requests", "unreachable") for line in each[key]}):
        console.print(line, markup=False)
    console.print(f"Lighthouse, accessibility: {score:.0f} of 100")
    for line in failed:
        console.print(f"  {line}", markup=False)
    console.print(f"{args.page.stat().st_size / 1e3:,.0f} kB; screenshots in {shots}", markup=False)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
