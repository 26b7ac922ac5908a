# frozen_string_literal: true

require_relative "support"

# As Lambda defines them: a function file is loaded at the top level.
extend LambdaIdempotency::Handler
def top_level_handler(event:, context:)
  { "done" => event["JobId"], "in" => context.aws_request_id }
end
idempotent :top_level_handler, key: "[JobId, ObjKey]", ttl: 60

module ModuleHandlers
  class Orders
    extend LambdaIdempotency::Handler

    idempotent def self.whole(event:, context:)
      [event, context.aws_request_id, name]
    end

    def self.made(event:, context:) = LambdaIdempotency.current_claim.fence
    idempotent :made, key: ->(event) { [event["user"], event["id"]] }, payload: ->(event) { event["amount"] }

    def self.broken(event:, context:) = raise(ArgumentError, event["id"])
    idempotent :broken, key: "id", final_errors: [ArgumentError]
  end
end

class HandlerTest < ClientTest
  CONTEXT = Context.new("r1", 3000)

  # Lambda calls a top-level handler on an object of its own, past its being private.
  def test_at_the_top_level
    script(acquired, completed)
    event = { "JobId" => "1", "ObjKey" => "a/b" }
    assert_equal({ "done" => "1", "in" => "r1" }, Object.new.__send__(:top_level_handler, event: event, context: CONTEXT))
    body = @server.requests[0].body
    assert_equal [event, "[JobId, ObjKey]", "r1", 60], body.values_at("event", "key_jmespath", "request_id", "ttl_seconds")
    assert body["deadline_ms"]
    refute Object.new.respond_to?(:top_level_handler)
  end

  def test_in_a_class_with_the_whole_event_as_key
    script(acquired, completed)
    assert_equal [{ "id" => 1 }, "r1", "ModuleHandlers::Orders"], ModuleHandlers::Orders.whole(event: { "id" => 1 }, context: CONTEXT)
    assert_equal({ "id" => 1 }, @server.requests[0].body["event"])
    refute @server.requests[0].body.key?("key_jmespath")
  end

  def test_with_key_and_payload_made_of_the_event
    script(acquired, completed)
    assert_equal 5, ModuleHandlers::Orders.made(event: { "user" => "u", "id" => "i", "amount" => 3 }, context: CONTEXT)
    assert_equal [%w[u i], 3], @server.requests[0].body.values_at("key", "payload")
    refute @server.requests[0].body.key?("event")
  end

  def test_a_failure
    script(acquired, released)
    assert_raises(ArgumentError) { ModuleHandlers::Orders.broken(event: { "id" => "x" }, context: CONTEXT) }
    assert_equal [{ "type" => "ArgumentError", "message" => "x" }, false], @server.requests[1].body.values_at("error", "retry")
  end

  def test_options_of_a_wrong_kind
    assert_raises(ArgumentError) { ModuleHandlers::Orders.idempotent(:whole, key: :id) }
    assert_raises(ArgumentError) { ModuleHandlers::Orders.idempotent(:whole, payload: "amount") }
    assert_raises(NameError) { ModuleHandlers::Orders.idempotent(:nothing) }
  end
end
