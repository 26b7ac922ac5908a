"""A queue's batch with the client's batch helper."""

from lambda_idempotency import idempotent_batch
from work import record_work


@idempotent_batch
def sqs(record, context):
    record_work(record)
