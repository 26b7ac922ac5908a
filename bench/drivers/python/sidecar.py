from lambda_idempotency import idempotent
from work import work


@idempotent(key="[JobId, ObjKey]")
def handler(event, context):
    return work(event)
