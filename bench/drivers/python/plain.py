from work import record_work, work


def handler(event, context):
    return work(event)


def sqs(event, context):
    for record in event["Records"]:
        record_work(record)
    return {"batchItemFailures": []}
