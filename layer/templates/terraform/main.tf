# A function that does each job once, its table, and an alarm for when the table cannot be used.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0"
    }
    archive = {
      source  = "hashicorp/archive"
      version = ">= 2.4"
    }
  }
}

variable "name" {
  description = "The name of the function, and the beginning of the other names."
  type        = string
  default     = "idempotent-job"
}

resource "aws_dynamodb_table" "table" {
  name         = var.name
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "id"

  attribute {
    name = "id"
    type = "S"
  }

  ttl {
    attribute_name = "expiration"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  lifecycle {
    prevent_destroy = true # Without its records, work that was done could be done again.
  }
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "idempotency" {
  statement {
    actions   = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
    resources = [aws_dynamodb_table.table.arn]
  }
}

data "aws_partition" "current" {}

resource "aws_iam_role" "role" {
  name_prefix        = "${var.name}-"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "idempotency" {
  name   = "idempotency"
  role   = aws_iam_role.role.name
  policy = data.aws_iam_policy_document.idempotency.json
}

resource "aws_iam_role_policy_attachment" "logs" {
  role       = aws_iam_role.role.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
}

resource "aws_lambda_layer_version" "layer" {
  layer_name               = "lambda-idempotency-arm64"
  filename                 = "${path.module}/../../../dist/lambda-idempotency-layer-arm64.zip" # made by `make layer`
  source_code_hash         = filebase64sha256("${path.module}/../../../dist/lambda-idempotency-layer-arm64.zip")
  compatible_architectures = ["arm64"]
  license_info             = "Apache-2.0"
}

data "archive_file" "function" {
  type        = "zip"
  source_dir  = "${path.module}/../function"
  output_path = "${path.module}/.terraform/function.zip"
}

resource "aws_lambda_function" "function" {
  function_name    = var.name
  filename         = data.archive_file.function.output_path
  source_code_hash = data.archive_file.function.output_base64sha256
  runtime          = "python3.13"
  architectures    = ["arm64"]
  handler          = "app.handler"
  timeout          = 30
  memory_size      = 256
  role             = aws_iam_role.role.arn
  layers           = [aws_lambda_layer_version.layer.arn]

  environment {
    variables = {
      IDEMPOTENCY_TABLE_NAME = aws_dynamodb_table.table.name
    }
  }

  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.logs.name
  }

  depends_on = [aws_iam_role_policy.idempotency, aws_iam_role_policy_attachment.logs]
}

resource "aws_cloudwatch_log_group" "logs" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = 30
}

# The extension logs one line of JSON each time the table could not be used.
resource "aws_cloudwatch_log_metric_filter" "store_errors" {
  name           = "${aws_lambda_function.function.function_name}-store-errors"
  log_group_name = aws_cloudwatch_log_group.logs.name
  pattern        = "{ $.msg = \"the store *\" || $.msg = \"could not settle *\" }"

  metric_transformation {
    namespace = "lambda-idempotency"
    name      = "${aws_lambda_function.function.function_name}-store-errors"
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "store_errors" {
  alarm_name          = "${aws_lambda_function.function.function_name}-store-errors"
  alarm_description   = "The idempotency extension could not use its table. The function's log has the cause and the mend."
  namespace           = "lambda-idempotency"
  metric_name         = "${aws_lambda_function.function.function_name}-store-errors"
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarm.arn]
}

resource "aws_sns_topic" "alarm" {
  name = "${var.name}-alarm"
}

output "function_name" {
  value = aws_lambda_function.function.function_name
}

output "table_name" {
  value = aws_dynamodb_table.table.name
}

output "alarm_topic_arn" {
  description = "Subscribe to this topic to be told of the alarm."
  value       = aws_sns_topic.alarm.arn
}
