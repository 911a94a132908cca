"""What a request must not leave open: where its body ends, for whom it is, how it is packed."""

from container.faults import Fault, FaultError


def objection(http_version: str, headers: dict[bytes, bytes]) -> FaultError | None:
    """The fault of a request whose head would have to be guessed at; None if it would not."""
    sentence = None
    if b"transfer-encoding" in headers:
        if b"content-length" in headers:
            sentence = "both content-length and transfer-encoding"
        elif headers[b"transfer-encoding"].lower() != b"chunked":
            sentence = "the only transfer-encoding is chunked"
    if http_version not in ("1.0", "1.1"):
        sentence = "the version of HTTP must be 1.1"
    if http_version == "1.1" and b"host" not in headers:
        sentence = "no host header"
    if headers.get(b"expect", b"100-continue").lower() != b"100-continue":
        sentence = "the only expectation is 100-continue"
    if sentence is not None:
        return FaultError(Fault.BAD_REQUEST, sentence)
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        return FaultError(Fault.UNSUPPORTED_MEDIA_TYPE, "send the body without content-encoding")
    return None
