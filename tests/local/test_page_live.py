"""The page of a real ``mme local``, in a real browser."""

from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

from tests.local.browser import SECONDS, chromium
from tests.local.support import Local
from tests.support import wait_until


@pytest.mark.browser
def test_live(local: Local, model: bytes, name: str, tmp_path: Path) -> None:
    """It shows the endpoint, its instance, the models that it holds, and what went wrong."""
    local.bucket("live", {f"m{number}.tar.gz": model for number in range(3)})
    local.create(name, "live")
    for number in range(3):
        local.invoke(name, f"m{number}.tar.gz")
    with pytest.raises(local.client("sagemaker-runtime").exceptions.ClientError):
        local.invoke(name, "m0.tar.gz", body=b"words")
    (instance,) = local.instances(name)
    with chromium(tmp_path) as driver:
        driver.get(f"{local.url}/#{name}")

        def text() -> str:
            return driver.find_element(By.TAG_NAME, "body").text

        wait_until(lambda: name in text(), SECONDS, "the endpoint")
        for button in driver.find_elements(By.XPATH, f"//*[text()='{name}']"):
            if button.is_displayed():
                button.click()
                break
        wanted = (instance["id"][:8], "m0.tar.gz", "m2.tar.gz", "ModelError", "InService")
        wait_until(lambda: all(word in text() for word in wanted), SECONDS, "what is there")
        complaints = [line for line in driver.get_log("browser") if line["level"] == "SEVERE"]
        assert complaints == []
