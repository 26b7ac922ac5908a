# frozen_string_literal: true

require_relative "lib/lambda_idempotency/version"

Gem::Specification.new do |gem|
  gem.name = "lambda_idempotency"
  gem.version = LambdaIdempotency::VERSION
  gem.summary = "Runs an AWS Lambda function's work once per key, through the lambda-idempotency sidecar"
  gem.authors = ["The lambda-idempotency authors"]
  gem.homepage = "https://github.com/lambda-idempotency/lambda-idempotency"
  gem.license = "Apache-2.0"
  gem.required_ruby_version = ">= 3.1"
  gem.files = Dir["lib/**/*.rb", "README.md", base: __dir__]
  gem.metadata["rubygems_mfa_required"] = "true"
end
