import os

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent_function
from work import record_work

store = DynamoDBPersistenceLayer(table_name=os.environ["POWERTOOLS_TABLE"])
config = IdempotencyConfig(event_key_jmespath="messageId")
processor = BatchProcessor(event_type=EventType.SQS)


@idempotent_function(data_keyword_argument="record", persistence_store=store, config=config)
def one(*, record):
    return record_work(record)


def handle_record(record):
    return one(record=record.raw_event)


def sqs(event, context):
    config.register_lambda_context(context)
    return process_partial_response(event=event, record_handler=handle_record, processor=processor, context=context)
