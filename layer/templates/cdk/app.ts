import { App, CfnOutput, Duration, RemovalPolicy, Stack } from "aws-cdk-lib";
import * as cloudwatch from "aws-cdk-lib/aws-cloudwatch";
import { SnsAction } from "aws-cdk-lib/aws-cloudwatch-actions";
import * as dynamodb from "aws-cdk-lib/aws-dynamodb";
import * as lambda from "aws-cdk-lib/aws-lambda";
import * as logs from "aws-cdk-lib/aws-logs";
import * as sns from "aws-cdk-lib/aws-sns";

const stack = new Stack(new App(), "IdempotentJob", {
  description: "A function that does each job once, its table, and an alarm for when the table cannot be used.",
});

const table = new dynamodb.Table(stack, "Table", {
  billingMode: dynamodb.BillingMode.PAY_PER_REQUEST,
  partitionKey: { name: "id", type: dynamodb.AttributeType.STRING },
  timeToLiveAttribute: "expiration",
  pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
  removalPolicy: RemovalPolicy.RETAIN, // Without its records, work that was done could be done again.
});

const layer = new lambda.LayerVersion(stack, "Layer", {
  code: lambda.Code.fromAsset("../../../dist/lambda-idempotency-layer-arm64.zip"), // made by `make layer`
  compatibleArchitectures: [lambda.Architecture.ARM_64],
  license: "Apache-2.0",
});

const logGroup = new logs.LogGroup(stack, "Logs", {
  retention: logs.RetentionDays.ONE_MONTH,
  removalPolicy: RemovalPolicy.DESTROY,
});

const job = new lambda.Function(stack, "Function", {
  code: lambda.Code.fromAsset("../function"),
  runtime: lambda.Runtime.PYTHON_3_13,
  architecture: lambda.Architecture.ARM_64,
  handler: "app.handler",
  timeout: Duration.seconds(30),
  memorySize: 256,
  layers: [layer],
  environment: { IDEMPOTENCY_TABLE_NAME: table.tableName },
  logGroup,
});
table.grant(job, "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem");

// The extension logs one line of JSON each time the table could not be used.
const storeErrors = new logs.MetricFilter(stack, "StoreErrors", {
  logGroup,
  filterPattern: logs.FilterPattern.any(
    logs.FilterPattern.stringValue("$.msg", "=", "the store *"),
    logs.FilterPattern.stringValue("$.msg", "=", "could not settle *"),
  ),
  metricNamespace: "lambda-idempotency",
  metricName: `${job.functionName}-store-errors`,
});

const topic = new sns.Topic(stack, "AlarmTopic");
storeErrors
  .metric({ statistic: "Sum", period: Duration.minutes(5) })
  .createAlarm(stack, "StoreErrorsAlarm", {
    alarmDescription: "The idempotency extension could not use its table. The function's log has the cause and the mend.",
    evaluationPeriods: 1,
    threshold: 1,
    comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
    treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
  })
  .addAlarmAction(new SnsAction(topic));

new CfnOutput(stack, "FunctionName", { value: job.functionName });
new CfnOutput(stack, "TableName", { value: table.tableName });
new CfnOutput(stack, "AlarmTopicArn", { value: topic.topicArn, description: "Subscribe to this topic to be told of the alarm." });
