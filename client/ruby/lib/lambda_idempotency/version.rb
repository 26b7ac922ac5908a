# frozen_string_literal: true

module LambdaIdempotency
  VERSION = "0.1.0"
end
