"""The page in a real browser: headless Chromium, driven by Selenium."""

import shutil

import pytest

from smartbox.report import write_report
from tests.report.conftest import EVIL

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver (Debian: chromium, chromium-driver)"
    ),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(run_folder, tmp_path_factory):
    return write_report(run_folder, tmp_path_factory.mktemp("page") / "page.html")


@pytest.fixture(params=[(1280, "light"), (390, "light"), (1280, "dark"), (390, "dark")], ids=lambda p: f"{p[0]}-{p[1]}")
def opened(request, browser, page):
    """The page at a width and in a colour scheme."""
    width, scheme = request.param
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page.as_uri())
    assert browser.execute_script("return innerWidth") == width
    return browser


def test_no_error_and_no_sideways_scroll(opened):
    assert opened.get_log("browser") == []
    inner, outer = opened.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert inner <= outer
    opened.execute_script("scrollTo(500, 0)")
    assert opened.execute_script("return scrollX") == 0


def test_identity_is_text(opened):
    names = opened.execute_script(
        "return [...document.querySelectorAll('#people tbody th')].map((cell) => cell.textContent)"
    )
    assert EVIL in names
    assert opened.execute_script("return document.scripts.length") == 1


def test_sort_by_keyboard(opened):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    def column():
        return opened.execute_script(
            "return [...document.querySelectorAll('#mitigation tbody tr')].map((r) => r.cells[6].dataset.sort)"
        )

    before = column()
    head = opened.find_element(By.CSS_SELECTOR, "#mitigation thead tr:nth-child(2) th:nth-child(3)")
    button = head.find_element(By.TAG_NAME, "button")
    assert button.accessible_name == "worst"
    for key, state in ((Keys.ENTER, "descending"), (Keys.SPACE, "ascending")):
        button.send_keys(key)
        assert head.get_attribute("aria-sort") == state
        assert list(map(float, column())) == sorted(map(float, before), reverse=state == "descending")
        assert f"Sorted by worst, {state}." in opened.find_element(
            By.CSS_SELECTOR, "#mitigation [role=status]"
        ).get_property("textContent")
    button.send_keys(Keys.ENTER)
    assert head.get_attribute("aria-sort") is None and column() == before


def test_filter(opened):
    from selenium.webdriver.common.by import By

    field = opened.find_element(By.CSS_SELECTOR, "#mitigation input")
    assert field.accessible_name == "Filter lines: Mitigations, and attacks that know of them"
    field.send_keys("PGD blur")
    rows = [row for row in opened.find_elements(By.CSS_SELECTOR, "#mitigation tbody tr") if row.is_displayed()]
    assert [row.text.split()[:3] for row in rows] == [
        ["pgd", "gaussian_blur", one] for one in ("verification", "identification")
    ]
    assert opened.find_element(By.CSS_SELECTOR, "#mitigation [role=status]").text == "2 of 16 lines."
    opened.find_element(By.CSS_SELECTOR, "#people input").send_keys("<script>")
    assert len([row for row in opened.find_elements(By.CSS_SELECTOR, "#people tbody tr") if row.is_displayed()]) == 1


def test_tables_are_named_and_can_be_read_out(opened):
    from selenium.webdriver.common.by import By

    for table in opened.find_elements(By.TAG_NAME, "table"):
        assert table.find_element(By.TAG_NAME, "caption").get_property("textContent")
    bare = "return document.querySelectorAll('th:not([scope]), img:not([alt]), svg[role=img]:not([aria-label])').length"
    assert opened.execute_script(bare) == 0


def test_colours_can_be_read(opened):
    """WCAG's contrast of text on the page, 4.5 at least; of curves 3."""
    script = """
        const paper = getComputedStyle(document.body).backgroundColor;
        const of = (selector) => getComputedStyle(document.querySelector(selector)).color;
        return [paper, of('body'), of('.interval'), of('.threat'), of('nav a'), ...[0, 1, 2, 3, 4, 5, 6].map((k) => {
            const one = document.createElement('i');
            one.className = `k${k}`;
            document.body.append(one);
            return getComputedStyle(one).color;
        })];
    """
    paper, *colors = map(_luminance, opened.execute_script(script))
    contrasts = [(max(one, paper) + 0.05) / (min(one, paper) + 0.05) for one in colors]
    assert min(contrasts[:4]) >= 4.5 and min(contrasts[4:]) >= 3, contrasts


def test_print_shows_whole_tables(browser, page):
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.get(page.as_uri())
    hidden = (
        "return [...document.querySelectorAll('nav, .filter')].every((one) => getComputedStyle(one).display === 'none')"
    )
    assert browser.execute_script(hidden)
    overflow = "return [...document.querySelectorAll('.scroll')].map((one) => getComputedStyle(one).overflowX)"
    assert set(browser.execute_script(overflow)) == {"visible"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def _luminance(color):
    rgb = [int(part) / 255 for part in color.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
