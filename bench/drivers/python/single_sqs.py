"""A queue's batch with the client's call for one key, once for each record."""

from lambda_idempotency import invocation, run
from work import record_work


def sqs(event, context):
    with invocation(context):
        for record in event["Records"]:
            run(record["messageId"], lambda record=record: record_work(record))
    return {"batchItemFailures": []}
