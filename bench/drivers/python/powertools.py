import os

from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent
from work import work

store = DynamoDBPersistenceLayer(table_name=os.environ["POWERTOOLS_TABLE"])
config = IdempotencyConfig(event_key_jmespath="[JobId, ObjKey]")


@idempotent(persistence_store=store, config=config)
def handler(event, context):
    return work(event)
