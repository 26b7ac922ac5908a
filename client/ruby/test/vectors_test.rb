# frozen_string_literal: true

require_relative "support"

# The contract of all clients: client/vectors.json.
class VectorsTest < ClientTest
  class WorkError < StandardError; end
  class FinalError < StandardError; end

  CASES = JSON.parse(File.read(File.expand_path("../../vectors.json", __dir__))).fetch("cases")

  CASES.each do |vector|
    define_method("test_#{vector["name"].tr(" ", "_")}") { check(vector) }
  end

  def test_there_are_cases = refute_empty(CASES)

  private

  def check(vector)
    script(*vector.fetch("answers"))
    before = Time.now
    runs = 0
    outcome = attempt do
      call(vector.fetch("call")) do
        runs += 1
        work(vector)
      end
    end
    assert_requests(vector, before)
    assert_equal vector.fetch("runs"), runs
    assert_outcome(vector.fetch("outcome"), outcome)
  end

  def attempt
    { "returns" => yield }
  rescue StandardError => error
    { "error" => error }
  end

  def call(spec, &work)
    options = { final_errors: [FinalError] }
    options[:event] = spec["event"] if spec.key?("event")
    options[:payload] = spec["payload"] if spec.key?("payload")
    options[:key_jmespath] = spec["key_jmespath"] if spec.key?("key_jmespath")
    options[:scope] = spec["scope"] if spec.key?("scope")
    options[:ttl] = spec["ttl_seconds"] if spec.key?("ttl_seconds")
    options[:wait] = spec["wait_ms"] / 1000.0 if spec.key?("wait_ms")
    options[:context] = Context.new(spec["request_id"], spec["remaining_ms"]) if spec.key?("request_id")
    spec.key?("key") ? LambdaIdempotency.run(spec["key"], **options, &work) : LambdaIdempotency.run(**options, &work)
  end

  def work(vector)
    thrown = vector["work"]["throws"]
    raise (vector["call"]["final"] ? FinalError : WorkError), thrown if thrown

    vector["work"].fetch("returns")
  end

  def assert_requests(vector, before)
    expected = vector.fetch("requests")
    assert_equal expected.map { |request| request["path"] }, paths
    expected.zip(@server.requests) do |want, got|
      body = got.body.dup
      client_token = body.delete("client_token")
      deadline = body.delete("deadline_ms")
      error = body.delete("error")
      assert_equal want["body"], body # these members and no others
      got.path == "/acquire" ? assert_operator(client_token.bytesize, :>=, 16) : assert_nil(client_token)
      want["error_message"] ? assert_equal(want["error_message"], error["message"]) : assert_nil(error)
      if want["deadline"]
        assert_in_delta before.to_f * 1000 + vector["call"]["remaining_ms"], deadline, 2000
      else
        assert_nil deadline
      end
    end
    assert_equal 1, @server.requests.filter_map { |request| request.body["client_token"] }.uniq.size
  end

  def assert_outcome(want, got)
    assert_equal want["warning"] ? 1 : 0, @warnings.texts.size unless want["error"]
    unless want["error"]
      assert_equal({ "returns" => want["returns"] }, got)
      return
    end
    error = got.fetch("error")
    if want["error"] == "work"
      assert_includes [WorkError, FinalError], error.class
      assert_equal want["message"], error.message
    else
      assert_equal "LambdaIdempotency::#{want["error"]}", error.class.name
      %w[request_id lease_expires_at type message code detail result].each do |name|
        assert_equal want[name], error.public_send(name), name if want.key?(name)
      end
      assert_equal want["retry_after_ms"] / 1000.0, error.retry_after if want.key?("retry_after_ms")
    end
  end
end
