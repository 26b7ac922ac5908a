from lambda_idempotency import idempotent


@idempotent(key="[JobId, ObjKey]")
def handler(event, context):
    return {"done": event["JobId"]}
