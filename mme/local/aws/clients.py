"""Our own way to moto: boto3, told where it is."""

from typing import Any

import boto3
from botocore.config import Config


class Clients:
    """Clients of moto, made when they are first asked for.

    Args:
        url: moto's.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._made: dict[tuple[str, str], Any] = {}

    def get(self, service: str, region: str) -> Any:
        """The client of a service in a region."""
        if (service, region) not in self._made:
            session = boto3.Session("local", "local", region_name=region)
            config = Config(retries={"max_attempts": 1}, proxies={})
            client = session.client(service, endpoint_url=self._url, config=config)
            self._made[service, region] = client
        return self._made[service, region]
