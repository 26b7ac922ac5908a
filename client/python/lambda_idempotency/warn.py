"""Warnings, through the logger ``lambda_idempotency``."""

from __future__ import annotations


def warn(message: str, *args: object, error: BaseException | None = None) -> None:
    import logging  # Few programs warn, and those that log have imported it.

    logging.getLogger("lambda_idempotency").warning(message, *args, exc_info=error)
