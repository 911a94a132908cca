"""Models and endpoint configurations: checked when they are made, described as they were given."""

from mme.local.aws.objects import SCHEME, Objects, split_url
from mme.local.control import errors
from mme.local.control.errors import RequestError
from mme.local.control.resources import CONFIG, MODEL, Fields, Resources
from mme.local.runtime.deployment import MULTI_MODEL

_METRIC_SECONDS = (10, 30, 60, 120, 180, 240, 300)
_NEEDED = ("ModelName", "InstanceType", "InitialInstanceCount")  # of a variant on instances


class Catalogue:
    """What endpoints are made of.

    Args:
        resources: where they are kept.
        objects: of S3, where models' data is.
    """

    def __init__(self, resources: Resources, objects: Objects) -> None:
        self._resources, self._objects = resources, objects

    def new_model(self, asked: Fields, region: str) -> Fields:
        """The document of a new model, not kept yet.

        Raises:
            RequestError: it cannot be.
        """
        document = self._resources.begin(MODEL, asked["ModelName"], region)
        containers = asked.get("Containers") or []
        if bool(containers) == ("PrimaryContainer" in asked):
            raise RequestError("A model has either PrimaryContainer or Containers.")
        containers = containers or [asked["PrimaryContainer"]]
        multi_model = [one for one in containers if one.get("Mode") == MULTI_MODEL]
        if len(multi_model) > 1:
            raise RequestError(
                "More than one container in MultiModel mode is not supported with inference "
                "pipeline."
            )
        if len(containers) > 1:
            raise errors.not_emulated("A model of more than one container")
        container = containers[0]
        container.setdefault("Mode", "SingleModel")
        self._check_container(container)
        asked.setdefault("EnableNetworkIsolation", False)
        return {**document, **asked}

    def _check_container(self, container: Fields) -> None:
        if "Image" not in container:
            raise RequestError("A container needs Image.")
        for name, value in container.get("Environment", {}).items():
            if "\0" in value:
                raise RequestError(f"The environment variable {name} cannot have a zero byte.")
        url = container.get("ModelDataUrl")
        if container["Mode"] == MULTI_MODEL:
            if url is None:
                raise RequestError("A container of Mode MultiModel needs ModelDataUrl.")
            self._check_prefix(url)
        elif url is not None:
            self._check_object(url)

    def _check_prefix(self, url: str) -> None:
        bucket, key = _split(url)
        if not url.endswith("/"):
            raise RequestError(
                f"The ModelDataUrl of a container of Mode MultiModel is an S3 prefix and ends with "
                f'"/": {url}'
            )
        # AWS refuses a prefix that has nothing below it: the SDK's first MultiDataModel put a
        # marker there, "to ensure that the create model does not fail".
        if not self._objects.is_bucket(bucket) or not self._objects.has_any(bucket, key):
            raise errors.no_data(url)

    def _check_object(self, url: str) -> None:
        bucket, key = _split(url)
        try:
            is_there = self._objects.path(bucket, key).is_file()
        except ValueError:  # no object can have that key
            is_there = False
        if not is_there:
            raise errors.no_data(url)

    def new_config(self, asked: Fields, region: str) -> Fields:
        """The document of a new endpoint configuration, not kept yet.

        Raises:
            RequestError: it cannot be.
        """
        document = self._resources.begin(CONFIG, asked["EndpointConfigName"], region)
        variants = asked["ProductionVariants"]
        names = [variant["VariantName"] for variant in variants]
        for name in names:
            if names.count(name) > 1:
                raise RequestError(f'Variant names must be unique: "{name}" is not.')
        for variant in variants:
            for field in _NEEDED:
                if field not in variant:
                    raise RequestError(
                        f"{field} is missing in the production variant "
                        f"{variant['VariantName']}: mme local emulates variants that name a model "
                        "and run on instances."
                    )
            self._resources.find(MODEL, variant["ModelName"], region)
            variant.setdefault("InitialVariantWeight", 1.0)
        check_weights([variant["InitialVariantWeight"] for variant in variants])
        seconds = asked.get("MetricsConfig", {}).get("MetricPublishFrequencyInSeconds")
        if seconds is not None and seconds not in _METRIC_SECONDS:
            valid = ", ".join(map(str, _METRIC_SECONDS))
            raise RequestError(
                f"MetricPublishFrequencyInSeconds is {seconds}; valid values: {valid}."
            )
        asked.setdefault("EnableNetworkIsolation", False)
        return {**document, **asked}


def check_weights(weights: list[float]) -> None:
    """Refuse weights that give nobody any traffic.

    Raises:
        RequestError: all are zero.
    """
    if not any(weight > 0 for weight in weights):
        raise RequestError("The weight of at least one production variant must be above zero.")


def _split(url: str) -> tuple[str, str]:
    """A URL's bucket and key."""
    if not url.startswith(SCHEME):
        raise errors.not_emulated(f"ModelDataUrl without {SCHEME}")
    return split_url(url)
