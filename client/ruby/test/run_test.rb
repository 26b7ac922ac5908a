# frozen_string_literal: true

require_relative "support"
require "bigdecimal"
require "timeout"

class RunTest < ClientTest
  Receipt = Struct.new(:amount)

  def test_the_work_is_given_its_claim
    script(acquired(attempt: 2, previous_error: { type: "A", message: "b" }), { "body" => { "status" => "acquired", "lease_expires_at" => 9 } }, completed)
    LambdaIdempotency.run("k") do |claim|
      assert_same claim, LambdaIdempotency.current_claim
      assert_equal ["t1", 5, 2, { "type" => "A", "message" => "b" }, false],
                   [claim.token, claim.fence, claim.attempt, claim.previous_error, claim.unprotected?]
      claim.renew(lease: 60)
    end
    assert_nil LambdaIdempotency.current_claim
    assert_equal %w[/acquire /renew /complete], paths
    assert_equal({ "token" => "t1", "lease_ms" => 60_000 }, @server.requests[1].body)
  end

  def test_a_run_without_protection_is_told_of
    script(acquired(unprotected: true), completed)
    assert LambdaIdempotency.run("k", &:unprotected?)
  end

  def test_disabled_runs_at_once_and_calls_nobody
    ENV["IDEMPOTENCY_DISABLED"] = "true"
    ENV["IDEMPOTENCY_PORT"] = "1"
    assert_equal [0, 1, nil], LambdaIdempotency.run("k") { |claim| [claim.fence, claim.attempt, claim.renew] }
  end

  def test_only_true_disables
    script(acquired, completed)
    ENV["IDEMPOTENCY_DISABLED"] = "false"
    LambdaIdempotency.run("k") { 1 }
    assert_equal %w[/acquire /complete], paths
  end

  def test_numbers_and_names_of_a_replay
    script(*Array.new(2) { { "body" => { "status" => "completed", "result" => { "big" => 12_345_678_901_234_567_891, "list" => [{ "a" => 1 }] } } } })
    assert_equal({ "big" => 12_345_678_901_234_567_891, "list" => [{ "a" => 1 }] }, LambdaIdempotency.run("k") { 1 })
    assert_equal({ big: 12_345_678_901_234_567_891, list: [{ a: 1 }] }, LambdaIdempotency.run("k", symbolize_names: true) { 1 })
  end

  def test_what_json_cannot_express_is_refused_before_the_work
    script
    loop_ = []
    loop_ << loop_
    [Float::NAN, Float::INFINITY, Receipt.new(1), Time.now, BigDecimal("1.5"), { a: [Object.new] }, loop_, "\xff"].each do |value|
      error = assert_raises(TypeError, value.inspect) { LambdaIdempotency.run("k", payload: value) { flunk "the work ran" } }
      assert_includes error.message, "is not JSON"
      assert_includes error.message, "#{value} is no JSON number" if value.is_a?(Float)
    end
    assert_empty @server.requests
  end

  def test_an_object_with_a_to_json_of_its_own_is_json
    money = Class.new { def to_json(*) = '{"amount":1}' }
    script(acquired, completed)
    LambdaIdempotency.run("k", payload: money.new) { [1] }
    assert_equal({ "amount" => 1 }, @server.requests[0].body["payload"])
  end

  def test_a_result_that_is_no_json_ends_the_claim_all_the_same
    script(acquired, completed)
    receipt = Receipt.new(1)
    error = assert_raises(LambdaIdempotency::ResultError) { LambdaIdempotency.run("k") { receipt } }
    assert_same receipt, error.result
    assert_includes error.message, "the result is not JSON: it has a RunTest::Receipt"
    assert_equal [{ "token" => "t1" }], @server.requests[1..].map(&:body)
  end

  def test_a_result_whose_to_json_fails_ends_the_claim_all_the_same
    deep = []
    199.times { deep = [deep] }
    [Class.new { def to_json(*) = raise(NoMethodError, "of nil") }.new, deep].each do |result|
      script(acquired, completed)
      LambdaIdempotency.client = nil
      assert_raises(LambdaIdempotency::ResultError) { LambdaIdempotency.run("k") { result } }
      assert_equal [{ "token" => "t1" }], @server.requests[1..].map(&:body)
      @server.stop
    end
  end

  def test_a_result_that_is_too_large_is_left_out
    too_large = { "status" => 413, "body" => { "type" => "about:blank", "title" => "", "status" => 413, "code" => "too_large", "detail" => "" } }
    script(acquired, too_large, completed)
    assert_equal 1, LambdaIdempotency.run("k") { 1 }
    assert_equal({ "token" => "t1" }, @server.requests[2].body)
    assert_equal 1, @warnings.texts.size
  end

  def test_another_problem_on_complete_does_not_undo_the_work
    unknown = { "status" => 404, "body" => { "type" => "about:blank", "title" => "", "status" => 404, "code" => "claim_unknown", "detail" => "gone" } }
    script(acquired, unknown)
    assert_equal 1, LambdaIdempotency.run("k") { 1 }
    assert_includes @warnings.texts[0], "claim_unknown: gone"
  end

  def test_a_null_payload_is_a_payload
    script(acquired, completed)
    LambdaIdempotency.run("k", payload: nil) { 1 }
    assert @server.requests[0].body.key?("payload")
  end

  def test_leaving_the_block_in_other_ways
    script(*Array.new(4) { [acquired, released] }.flatten)
    returned = ->(key) { LambdaIdempotency.run(key) { return 1 } }
    returned.call("k")
    assert_equal 2, LambdaIdempotency.run("k") { break 2 }
    assert_equal 3, catch(:out) { LambdaIdempotency.run("k") { throw :out, 3 } }
    assert_equal 3, @warnings.texts.size
    assert_raises(SystemExit) { LambdaIdempotency.run("k") { exit 1 } }
    assert_equal %w[LocalJumpError LocalJumpError LocalJumpError SystemExit], @server.requests.filter_map { |request| request.body.dig("error", "type") }
    assert_equal 3, @warnings.texts.size
    assert_nil LambdaIdempotency.current_claim
  end

  def test_a_timeout_around_the_work_frees_the_key
    script(acquired, released)
    assert_raises(Timeout::Error) { Timeout.timeout(0.05) { LambdaIdempotency.run("k") { sleep } } }
    assert_equal %w[/acquire /fail], paths
    assert_equal true, @server.requests[1].body["retry"]
  end

  def test_an_error_message_in_a_broken_encoding_frees_the_key
    ["caf\xe9", "caf\xe9".b].each do |message|
      script(acquired, released)
      LambdaIdempotency.client = nil
      error = assert_raises(RuntimeError) { LambdaIdempotency.run("k") { raise message } }
      assert_equal message, error.message
      assert_equal "caf\u{fffd}", @server.requests[1].body["error"]["message"]
      @server.stop
    end
  end

  def test_a_run_without_work_is_refused
    assert_raises(ArgumentError) { LambdaIdempotency.run("k") }
  end
end
