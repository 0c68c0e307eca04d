"""`make console`: the page in headless Chromium, at two widths, light and dark, and under 200 events a second.

    python -m tests.console [--shots DIRECTORY] [--seconds N]

Prints what it looked at; exit code 1 with a sentence for the first thing that is not as it should be. Screenshots
are for people: they are kept where `--shots` says, else thrown away.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bridge.channel.identifier import ChannelName
from tests.console.browser import NAMES, Browser, Page, browser
from tests.console.stage import MARKUP, SECRET, Show, people, shown

WIDTHS = (("desktop", 1280, 900, False), ("phone", 390, 844, True))
CHANNELS, RATE, SECONDS = 200, 200, 20
LONGEST_FRAME_MS = 250.0
"""A person sees a pause from here on. The measured 95th of a hundred frames is far below."""


class Wrong(Exception):
    """What is not as it should be, in a sentence."""


def check(condition: object, sentence: str) -> None:
    if not condition:
        raise Wrong(sentence)


def get_browser() -> None:
    """From the distribution, as root; else a sentence."""
    if any(map(shutil.which, NAMES)):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Wrong("no Chromium: install the package chromium")
    print("console: installing chromium", flush=True)
    subprocess.run(["apt-get", "-qq", "update"], check=True)
    subprocess.run(["apt-get", "-qq", "install", "--yes", "chromium"], check=True, stdout=subprocess.DEVNULL)


async def look(show: Show, window: Browser, url: str, shots: Path) -> None:
    """Every state of the page, at every width and in both lights."""
    for label, width, height, touch in WIDTHS:
        for dark in (False, True):
            async with window.page(width, height, dark=dark, touch=touch) as page:
                await overview(page, url)
                await shoot(page, shots, f"{label}-{'dark' if dark else 'light'}")
                await detail(page, url)
                await shoot(page, shots, f"{label}-{'dark' if dark else 'light'}-channel")
                strange = [one for one in page.errors if not one.endswith("/history/nobody")]
                check(not strange, f"{label}: the browser complains: {strange}")
    print(f"console: {len(WIDTHS) * 2} views, overview and a channel's page: no complaint of the browser's", flush=True)


async def shoot(page: Page, shots: Path, name: str) -> None:
    await page.shoot(shots / f"{name}.png")


async def overview(page: Page, url: str) -> None:
    await page.open(url)
    await page.until("document.querySelectorAll('#channels tbody tr').length === 25")
    await page.until("document.getElementById('connection').dataset.state === 'live'")
    await page.until("document.getElementById('t-backlog').textContent === '1'")
    words = await page.run("[...document.querySelectorAll('#channels tbody .state')].map((one) => one.textContent)")
    wanted = ["ready", "ready", "in doubt", "no link", "peer away", "closed", "lost"]
    check(words[:7] == wanted, f"states: {words[:7]}")
    check(words[24] == "halted", f"the halted channel is {words[24]}")
    check(await page.run("document.querySelectorAll('#requests li').length") == 2, "two sign requests are open")
    first = await page.run("document.querySelector('#requests li').textContent")
    check("shop-001" in first, f"the nearest deadline comes first, not {first}")
    balance = "document.querySelector('#channels tbody tr button.amount')"
    check(await page.run(f"{balance}.textContent") == "70 AE", "a balance in AE")
    await page.run(f"{balance}.click()")
    check(await page.run(f"{balance}.textContent") == f"{70 * 10**18} aettos", "a tap shows the aettos")
    await page.run(f"{balance}.click()")
    tiny = await page.run("document.querySelectorAll('#channels tbody tr')[8].querySelector('.amount').textContent")
    check(tiny == "<0.000001 AE", f"one aetto is not nothing: {tiny}")
    check(MARKUP in await page.run("document.getElementById('events').textContent"), "a peer's text is shown as text")
    check(await page.run("document.title") == "channel bridge", "a peer's text was run")
    check(str(SECRET) not in await page.run("document.documentElement.outerHTML"), "a secret is on the page")
    await page.run("document.getElementById('trouble').click()")
    await page.until("[...document.querySelectorAll('#channels tbody tr')].filter((one) => !one.hidden).length === 6")
    await page.run("document.getElementById('trouble').click()")
    wide = await page.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    check(wide <= 0, f"the page is {wide} px wider than the screen")
    unnamed = await page.run(
        "[...document.querySelectorAll('button, input, a')].filter((one) => !(one.textContent.trim()"
        " || one.getAttribute('aria-label') || one.labels?.length)).length"
    )
    check(unnamed == 0, f"{unnamed} controls have no name for a screen reader")


async def detail(page: Page, url: str) -> None:
    await page.run("location.hash = '#/channel/shop-010'")
    await page.until("document.querySelectorAll('#d-history li').length === 50")
    check(await page.run("document.activeElement.id") == "d-name", "the focus follows to a channel's page")
    await page.run("document.getElementById('d-more').click()")
    await page.until("document.querySelectorAll('#d-history li').length === 60")
    check(await page.run("document.getElementById('d-more').hidden"), "there is nothing older")
    await page.run("location.hash = '#/channel/nobody'")
    await page.until("document.getElementById('d-note').textContent.includes('no such channel')")
    await page.run("location.hash = '#/channel/shop-010'")
    await page.until("document.querySelectorAll('#d-history li').length === 50")
    facts = await page.run("document.getElementById('d-facts').textContent")
    check("initiator, json-rpc" in facts, f"the facts of a channel: {facts}")


async def rush(show: Show, window: Browser, url: str, shots: Path, seconds: int) -> None:
    """200 channels, 200 events a second: how long the page's frames take, and how old what it shows is."""
    names = [show.seat(number) for number in range(CHANNELS)]
    show.halted.clear()
    async with window.page(1280, 900) as page:
        await page.open(url)
        await page.until(f"document.querySelectorAll('#channels tbody tr').length >= {CHANNELS}")
        driver = asyncio.create_task(drive(show, names))
        try:
            told = await page.run(WATCH.replace("SECONDS", str(seconds)))
            async with window.page(390, 844, touch=True) as phone:
                await phone.open(url)
                await phone.until(f"document.querySelectorAll('#channels tbody tr').length >= {CHANNELS}")
                await shoot(phone, shots, "phone-rush")
            await shoot(page, shots, "desktop-rush")
            happened = driver.done() or None
        finally:
            driver.cancel()
            await asyncio.gather(driver, return_exceptions=True)
        check(happened is None, "what makes the events ended")
        check(not page.errors, f"the browser complains: {page.errors}")
    print(
        f"console: {CHANNELS} channels, {told['rate']:.0f} events/s for {seconds} s: {told['frames']} frames,"
        f" p50 {told['p50']:.0f} ms, p95 {told['p95']:.0f} ms, p99 {told['p99']:.0f} ms, worst {told['worst']:.0f} ms;"
        f" script of a redraw p95 {told['script']:.1f} ms; {told['pushes']} pushes; dropped {show.console.dropped}",
        flush=True,
    )
    check(told["rate"] > RATE * 0.7, f"only {told['rate']:.0f} events a second were seen")
    check(told["p95"] < LONGEST_FRAME_MS, f"a frame takes {told['p95']:.0f} ms")
    check(told["pushes"] <= 6 * seconds, f"{told['pushes']} pushes in {seconds} s")


WATCH = """new Promise((done) => {
  const frames = [], scripts = [], began = performance.now(); let last = began, pushes = 0, events = 0;
  const takes = socket.onmessage, draws = draw;
  socket.onmessage = (message) => { pushes += 1; const told = JSON.parse(message.data); if (told.kind === 'part')
    events += told.events.length + told.skipped; takes(message); };
  draw = () => { const at = performance.now(); draws(); scripts.push(performance.now() - at); };
  const pick = (all, share) => all.sort((a, b) => a - b)[Math.min(all.length - 1, Math.floor(all.length * share))];
  const frame = (at) => { frames.push(at - last); last = at;
    if (at - began < SECONDS * 1000) requestAnimationFrame(frame);
    else done({ frames: frames.length, p50: pick(frames, .5), p95: pick(frames, .95), p99: pick(frames, .99),
      worst: pick(frames, 1), script: pick(scripts, .95), pushes, rate: events / SECONDS }); };
  requestAnimationFrame(frame);
})"""


async def drive(show: Show, names: list[ChannelName]) -> None:
    """Keeps the rate by the clock: what was late is made up for."""
    loop = asyncio.get_running_loop()
    began, made = loop.time(), 0
    while True:
        due = int((loop.time() - began) * RATE)
        batch = [names[(made + number) % len(names)] for number in range(min(due - made, 50))]
        await asyncio.gather(*map(show.pay, batch))
        made += len(batch)
        await asyncio.sleep(0.02)


async def lose(window: Browser, directory: Path, shots: Path) -> None:
    """Loading, an empty house, what is missing, and a bridge that goes away: each is said, not guessed."""
    async with window.page(390, 844, touch=True) as page:
        async with shown(directory) as (show, server):
            await page.open(f"http://127.0.0.1:{server.port}/")
            await page.until("document.getElementById('channels-none').textContent === 'No channel is configured.'")
            show.missing["node"] = "no configured node has taken a connection"
            await page.until("document.getElementById('alert').textContent.includes('no configured node')")
            await shoot(page, shots, "phone-empty-not-ready")
        await page.until("document.getElementById('connection').dataset.state === 'lost'")
        check("old" in await page.run("document.getElementById('connection').textContent"), "it says that it is old")
        await shoot(page, shots, "phone-disconnected")
    print("console: empty, not ready and disconnected are said", flush=True)


@asynccontextmanager
async def folder(given: Path | None) -> AsyncIterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


async def main(shots: Path | None, seconds: int) -> None:
    async with folder(shots) as pictures, folder(None) as data, browser() as window:
        await lose(window, data / "empty", pictures)
        async with shown(data / "full") as (show, server):
            await people(show)
            url = f"http://127.0.0.1:{server.port}/"
            await look(show, window, url, pictures)
            await rush(show, window, url, pictures, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.console")
    parser.add_argument("--shots", type=Path)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    given = parser.parse_args()
    try:
        get_browser()
        asyncio.run(main(given.shots, given.seconds))
    except Wrong as wrong:
        print(f"console: {wrong}", file=sys.stderr)
        sys.exit(1)
    print("console: ok")
