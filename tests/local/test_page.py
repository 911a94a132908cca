"""The page of `mme local` in a real browser: what it shows, and what it must not do."""

import ast
import contextlib
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.local import browser, states
from tests.local.page_server import Page, PageServer
from tests.support import SOON_SECONDS, wait_until

pytestmark = pytest.mark.browser

# Contrast of each text with what is painted under it, as WCAG defines it; the worst of the page.
_WORST_CONTRAST = """
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const paint = (colours) => {
  canvas.fillStyle = "#fff";
  for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const light = (rgb) => {
  const [r, g, b] = rgb.map((c) => c / 255).map((c) =>
    c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
let worst = [99, ""];
while (texts.nextNode()) {
  const element = texts.currentNode.parentElement;
  if (!texts.currentNode.data.trim() || !element.checkVisibility() || element.disabled) continue;
  const under = [];
  for (let e = element; e; e = e.parentElement) under.unshift(getComputedStyle(e).backgroundColor);
  const style = getComputedStyle(element);
  const colour = element.namespaceURI.endsWith("svg") ? style.fill : style.color;
  const [a, b] = [light(paint(under)), light(paint([...under, colour]))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < worst[0]) worst = [contrast, texts.currentNode.data];
}
return worst;
"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    """One browser for all tests here."""
    with browser.chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def page(chromium: WebDriver) -> Iterator[Page]:
    """The page; whatever a test does with it, the browser has nothing to complain of."""
    server = PageServer()
    with server.running():
        page = Page(chromium, server)
        page.console()
        yield page
        assert page.console() == []
        chromium.get("about:blank")  # it must not ask a server that has gone


def test_nothing_yet(page: Page) -> None:
    """Without an endpoint, the page says so and how to create one, and shows no empty tables."""
    page.show(states.nothing())
    page.wait_text("none", "No endpoint yet")
    assert page.text("shell") == 'eval "$(mme local env)"'
    assert not any(page[part].is_displayed() for part in ("endpoint", "residents", "failed"))
    assert page.text("about") == "0.5.0 · us-east-1"


def test_first_endpoint(page: Page, tmp_path: Path) -> None:
    """The lines that the page shows for Python are three calls that boto3 finds well-formed."""
    page.show(states.nothing())
    page.wait_text("python", "create_endpoint(")
    script = tmp_path / "first.py"
    script.write_text(page.text("python"))
    calls = [node for node in ast.parse(script.read_text()).body if isinstance(node, ast.Expr)]
    assert len(calls) == 3
    subprocess.run(
        [sys.executable, script],
        env=os.environ
        | {
            "AWS_ENDPOINT_URL": page.server.url,
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        },
        check=True,
    )
    assert page.server.posted == [
        "SageMaker.CreateModel",
        "SageMaker.CreateEndpointConfig",
        "SageMaker.CreateEndpoint",
    ]


def test_errors_without_endpoint(page: Page) -> None:
    """An invocation of an endpoint that is not there is seen, too, with the endpoint's name."""
    state = states.nothing()
    said = states.errors(state["now"])[-1] | {"endpoint": "nowhere", "model": None}
    page.show(state | {"errors": [said]})
    page.wait_text("errors", "400 ValidationError")
    assert "nowhere" in page.text("errors")
    assert page["none"].is_displayed()


def test_busy(page: Page) -> None:
    """What there is to know of an endpoint is on the page."""
    page.show(states.busy(), [states.city(i) for i in range(40)])
    page.wait_text("models", "NewYork_NY.tar.gz")
    instances = page.text("instances")
    assert "AllTraffic ml.m5.large · weight 1 · multi-model" in instances
    assert "s3://models/houses/" in instances
    row = "7.5 GiB of 8 GiB 11.2 GiB of 30 GiB 700 + 2 loading 3 148,211 93.8 % 3,204 2,504"
    assert row in " ".join(instances.split())
    assert page.text("total") == "40"
    where = page["models"].find_element(By.CSS_SELECTOR, "tbody td").text
    assert where == f"{states.INSTANCES[0][:8]} {states.INSTANCES[1][:8]}"
    assert "memory: room for another model · 13.5 MiB · idle for" in page.text("evictions")
    assert "429 ModelNotReadyException \N{MULTIPLICATION SIGN} 12" in page.text("errors")
    assert "row 1 has 5 columns, not 6" in page.text("errors")
    meter = page["instances"].find_element(By.CSS_SELECTOR, "[role=meter]")
    assert meter.aria_role == "meter"
    assert meter.accessible_name == f"Memory of {states.INSTANCES[0]}"


def test_charts(page: Page) -> None:
    """Each chart says in words what it shows, and the hit rate is that of the last seconds."""
    page.show(states.busy())
    page.wait("return document.querySelectorAll('#charts svg').length === 4", "four charts")
    drawings = page["charts"].find_elements(By.CSS_SELECTOR, "[role=img], svg")
    names = [drawing.accessible_name for drawing in drawings]
    titles = ("Invocations", "Cache hits", "Latency", "Models loaded")
    assert all(name.startswith(title) for name, title in zip(names, titles, strict=True))
    series = page.server.state["series"]["houses"]
    share = 100 * sum(series["hits"][-5:]) / sum(series["invocations"][-5:])
    assert f"of invocations: now {share:.3g} %" in names[1]
    assert f"now {series['p50_ms'][-1]:.3g} ms" in names[2]
    assert "now 1,238, lowest 0, highest 1,238" in names[3]


def test_step_under_way(page: Page) -> None:
    """A rate is of the seconds that have passed: the newest step, just begun, makes it no lower."""
    state = states.little()
    few = states.series(20) | {"from": state["now"] - 39, "invocations": [20] * 19 + [10]}
    page.show(state | {"series": {"houses": few}})
    page.wait("return document.querySelectorAll('#charts svg').length === 4", "four charts")
    drawing = page["charts"].find_element(By.CSS_SELECTOR, "[role=img], svg")
    assert "all: now 10/s, lowest 10/s, highest 10/s" in drawing.accessible_name


def test_charts_then(page: Page) -> None:
    """Arrow keys read the charts at an earlier time, all four at the same; Escape returns."""
    page.show(states.busy())
    page.wait("return document.querySelectorAll('#charts svg').length === 4", "four charts")
    page.driver.execute_script("charts.children[0].focus()")
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_LEFT * 18)
    page.wait("return moment.textContent.startsWith('at ')", "a time")
    page.wait("return document.querySelectorAll('#charts .cursor').length === 4", "its marks")
    drawings = page["charts"].find_elements(By.CSS_SELECTOR, "[role=img], svg")
    loaded = page.server.state["series"]["houses"]["loaded"]
    assert f"180 s ago {loaded[210]:,}" in drawings[3].accessible_name
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.wait("return document.querySelectorAll('#charts .cursor').length === 0", "the present")


def test_no_traffic(page: Page) -> None:
    """Where nothing was invoked there is no hit rate and no latency, rather than 0."""
    state = states.busy()
    page.show(state)
    page.driver.get(f"{page.server.url}#orders")
    page.wait_text("name", "orders")
    values = page["charts"].find_elements(By.TAG_NAME, "dd")
    dashes = ["\N{EN DASH}"] * len(values)
    wait_until(lambda: [value.text for value in values] == dashes, browser.SECONDS, "no values")


def test_endpoints(page: Page) -> None:
    """Every endpoint is one link away, and a failed one gives its reason."""
    page.show(states.busy())
    page.wait_text("endpoints", "prices Creating")
    page["endpoints"].find_element(By.PARTIAL_LINK_TEXT, "orders").send_keys(Keys.ENTER)
    page.wait_text("failure", "did not pass the ping health check")
    assert page.driver.title == "orders · mme local"
    assert page["endpoints"].find_element(By.CSS_SELECTOR, "[aria-current=page]").text == (
        "orders Failed"
    )
    assert page.text("evictions") == "None: what was loaded has stayed."
    page.driver.back()
    page.wait_text("name", "houses")
    assert not page["failure"].is_displayed()


def test_many_models(page: Page) -> None:
    """Of 5,000 models few are on the page: others are turned to, or searched."""
    targets = [states.city(i) for i in range(5000)]
    page.show(states.busy(), targets)
    page.wait_text("range", "1 to 15 of 5,000")
    assert page.column("models") == targets[:15]
    page["next"].click()
    page.wait_text("range", "16 to 30 of 5,000")
    assert page.column("models") == targets[15:30]
    page["search"].send_keys("boston_ma/08")
    found = [target for target in targets if "Boston_MA/08" in target]
    page.wait_text("total", str(len(found)))
    assert len(found) > 15
    wait_until(lambda: page.column("models") == found[:15], browser.SECONDS, "what is searched")
    assert page["previous"].get_attribute("disabled")
    page["search"].send_keys("nowhere")
    page.wait_text("models", "No model in memory has such a name.")


def test_fewer_models(page: Page) -> None:
    """Who looks at a page of models that is there no more gets the last that is."""
    page.show(states.busy(), [states.city(i) for i in range(40)])
    page.wait_text("range", "1 to 15 of 40")
    for expected in ("16 to 30 of 40", "31 to 40 of 40"):
        page["next"].click()
        page.wait_text("range", expected)
    assert page["next"].get_attribute("disabled")
    page.server.models = page.server.models[:20]
    page.wait_text("range", "16 to 20 of 20")


def test_quick(page: Page) -> None:
    """With thousands of models, a full page and two full lists, an update takes no frame or two."""
    page.show(states.busy(), [states.city(i) for i in range(5000)])
    page.wait_text("range", "1 to 15 of 5,000")
    script = """
      const times = [];
      for (let i = 0; i < 20; i++) {
        const start = performance.now();
        dispatchEvent(new Event("resize"));  // shows everything anew
        document.body.offsetHeight;
        times.push(performance.now() - start);
      }
      return times.sort((a, b) => a - b)[10];
    """
    assert page.driver.execute_script(script) < 50  # ms; 5 where nothing else runs


def test_stays(page: Page) -> None:
    """Updates leave alone what a person does: the focus, a selection, what is typed."""
    page.show(states.busy(), [states.city(i) for i in range(40)])
    page.wait_text("models", "NewYork_NY.tar.gz")
    page["search"].send_keys("NewYork")
    page.wait("return models.rows.length > 1 && total.textContent !== '40'", "what is searched")
    page.driver.execute_script(
        "getSelection().selectAllChildren(models.querySelector('tbody th bdi'))"
    )
    page["search"].send_keys(Keys.HOME)
    asked = page.server.asked.count("/_mme/state")
    page.server.models[0]["invocations"] = 12_345
    page.wait_text("models", "12,345")
    assert page.server.asked.count("/_mme/state") > asked
    assert page.driver.switch_to.active_element == page["search"]
    assert page["search"].get_attribute("value") == "NewYork"


def test_hostile(page: Page) -> None:
    """Names with markup in them are shown as they are, and become no part of the page."""
    elements = "return document.querySelectorAll('img, script, h1').length"
    page.show(states.nothing())
    own = page.driver.execute_script(elements)
    page.show(states.hostile(), list(states.HOSTILE))
    page.wait_text("models", states.HOSTILE[0])
    for part in ("models", "evictions", "errors", "instances"):
        shown = page[part].get_attribute("textContent") or ""
        assert states.HOSTILE[0] in shown
        assert states.HOSTILE[1] in shown
    assert page.text("failure") == states.HOSTILE[1]
    assert page.driver.execute_script(elements) == own
    fits = "return document.documentElement.scrollWidth <= innerWidth"
    assert page.driver.execute_script(fits)


def test_lost(chromium: WebDriver) -> None:
    """A connection that is lost is said, with when it was there last; it is found again."""
    server = PageServer()
    page = Page(chromium, server)
    with server.running():
        page.show(states.busy(), [states.city(0)])
        page.wait_text("models", "NewYork_NY.tar.gz")
        assert not page["lost"].is_displayed()
        assert page.console() == []
    page.wait_text("lost", "mme local does not answer; last seen ")
    assert page["lost"].aria_role == "alert"
    assert page.text("link") == "no answer"
    assert "NewYork_NY.tar.gz" in page.text("models")  # what was known stays
    assert page.driver.title.startswith("no answer")
    refused = r"ERR_(CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE)"
    assert all(re.search(refused, message) for message in page.console())
    server.state = states.nothing()
    with server.running():
        page.wait_text("none", "No endpoint yet")
        assert not page["lost"].is_displayed()
        chromium.get("about:blank")
    page.console()


def test_hidden(page: Page) -> None:
    """A page that nobody looks at asks nothing; looked at again, it asks at once."""
    page.show(states.busy())
    state = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
    changed = "document.dispatchEvent(new Event('visibilitychange'))"
    page.driver.execute_script(state % "true" + changed)
    quiet = page.driver.execute_async_script(
        """
        const [done] = arguments;
        const address = `${location.origin}/_mme/state`;
        const questions = () => performance.getEntriesByName(address).length;
        setTimeout(() => {  // what was under way has come to its end
          const before = questions();
          setTimeout(() => done(questions() - before), 2500);
        }, 1200);
        """
    )
    assert quiet == 0
    asked = page.server.asked.count("/_mme/state")
    page.driver.execute_script(state % "false" + changed)
    wait_until(lambda: page.server.asked.count("/_mme/state") > asked, SOON_SECONDS, "a question")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", [states.nothing, states.busy], ids=["nothing", "busy"])
def test_contrast(page: Page, scheme: str, state: Any) -> None:
    """Every text can be told from what is under it: WCAG's AA, in light and in dark."""
    browser.prefer(page.driver, scheme)
    page.show(state(), [states.city(i) for i in range(40)])
    page.wait("return !none.hidden || models.rows.length > 15", "the page")
    contrast, text = page.driver.execute_script(_WORST_CONTRAST)
    assert contrast >= 4.5, text


@pytest.mark.parametrize("width", [1280, 600])
def test_width(page: Page, width: int) -> None:
    """The page fits a laptop's window and half of one; only tables scroll sideways."""
    with contextlib.ExitStack() as stack:
        browser.resize(page.driver, width, browser.HEIGHT)
        stack.callback(browser.resize, page.driver, browser.WIDTH, browser.HEIGHT)
        page.show(states.busy(), [states.city(i) for i in range(40)])
        page.wait_text("models", "NewYork_NY.tar.gz")
        fits = "return document.documentElement.scrollWidth <= innerWidth"
        assert page.driver.execute_script(fits)


def test_names(page: Page) -> None:
    """Whatever can be focused has a name, and headings leave out no level."""
    page.show(states.busy(), [states.city(i) for i in range(40)])
    page.wait_text("range", "1 to 15 of 40")
    focusable = page.driver.find_elements(By.CSS_SELECTOR, "a, button, input, [tabindex]")
    assert len(focusable) > 8
    assert [part.id for part in focusable if part.is_displayed() and not part.accessible_name] == []
    levels = page.driver.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3,h4')]"
        ".filter((e) => e.checkVisibility()).map((e) => +e.tagName[1])"
    )
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels)), levels


def test_picture(page: Page, tmp_path: Path) -> None:
    """A picture of the page has the size that documents are made for."""
    page.server.state = states.busy()
    page.server.models = states.models([states.city(i) for i in range(40)])
    picture = tmp_path / "page.png"
    browser.picture(page.server.url, picture)
    head = picture.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    size = (int.from_bytes(head[16:20]), int.from_bytes(head[20:24]))
    assert size == (browser.WIDTH, browser.HEIGHT)
