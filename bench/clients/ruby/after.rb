require "lambda_idempotency"

module Orders
  extend LambdaIdempotency::Handler

  def self.handler(event:, context:)
    { "done" => event["JobId"] }
  end
  idempotent :handler, key: "[JobId, ObjKey]"
end
