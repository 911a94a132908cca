"""Lists of resources: those that are asked for, in order, page by page."""

import base64
import binascii
import json
from typing import Any

from mme.local.control.errors import RequestError
from mme.local.control.resources import Fields, Kind

_PAGE = 10  # of resources, where the request does not say


def page(
    kind: Kind,
    documents: list[Fields],
    asked: Fields,
    shown: tuple[str, ...],
    if_there: tuple[str, ...] = (),
) -> Fields:
    """What List answers.

    Args:
        kind: of resources.
        documents: all of them.
        asked: the request.
        shown: the fields of a resource that the list has.
        if_there: more of them, which a resource need not have.

    Raises:
        RequestError: the token is none of ours.
    """
    sorted_by = {"CreationTime": "CreationTime", "Status": kind.status_field}  # else by name
    by = sorted_by.get(asked.get("SortBy", "CreationTime"), kind.name_field)

    def key(document: Fields) -> list[Any]:
        return [by, document[by], document[kind.name_field]]

    descending = asked.get("SortOrder", "Descending") == "Descending"
    found = [one for one in documents if _is_asked(kind, one, asked)]
    found.sort(key=key, reverse=descending)
    if token := asked.get("NextToken"):
        last = _key_of(token)
        if last[0] != by:
            raise _bad_token()
        found = [one for one in found if (key(one) < last if descending else key(one) > last)]
    most = asked.get("MaxResults", _PAGE)
    shown_ones = [
        {field: one[field] for field in shown}
        | {field: one[field] for field in if_there if field in one}
        for one in found[:most]
    ]
    answer: Fields = {kind.list_field: shown_ones}
    if len(found) > most:
        answer["NextToken"] = _token_of(key(found[most - 1]))
    return answer


def _is_asked(kind: Kind, document: Fields, asked: Fields) -> bool:
    if asked.get("NameContains", "") not in document[kind.name_field]:
        return False
    status = document.get(kind.status_field)
    if asked.get("StatusEquals", status) != status:
        return False
    for field in ("CreationTime", "LastModifiedTime"):
        before, after = asked.get(f"{field}Before"), asked.get(f"{field}After")
        if before is not None and document[field] >= before:
            return False
        if after is not None and document[field] < after:
            return False
    return True


def _token_of(key: list[Any]) -> str:
    """A token that names the last one of a page: what comes or goes meanwhile moves nothing."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _key_of(token: str) -> list[Any]:
    try:
        by, value, name = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError, binascii.Error):
        raise _bad_token() from None
    is_number = isinstance(value, int | float) and by == "CreationTime"
    if not isinstance(name, str) or not (is_number or isinstance(value, str)):
        raise _bad_token()
    return [by, value, name]


def _bad_token() -> RequestError:
    return RequestError("Invalid NextToken: it is none of this list.")
