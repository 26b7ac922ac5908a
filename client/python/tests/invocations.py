from __future__ import annotations


class Context:
    """What Lambda hands to a handler, as far as it matters here."""

    def __init__(self, request_id: str = "r1", remaining_ms: int = 30_000) -> None:
        self.aws_request_id = request_id
        self._remaining_ms = remaining_ms

    def get_remaining_time_in_millis(self) -> int:
        return self._remaining_ms
