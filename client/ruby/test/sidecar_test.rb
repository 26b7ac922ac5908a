# frozen_string_literal: true

require_relative "support"

# The real sidecar, on a store in memory.
class SidecarTest < ClientTest
  BINARY = ENV["SIDECAR"] || File.expand_path("../../../bin/lambda-idempotency", __dir__)
  SECRET = "s3cret"
  class Refused < StandardError; end

  def setup
    super
    raise "no #{BINARY}: make build" unless File.executable?(BINARY)

    ENV["IDEMPOTENCY_PORT"] = (@port = free_port).to_s
    ENV["IDEMPOTENCY_AUTH_TOKEN"] = SECRET
    start
  end

  def teardown
    kill
    super
  end

  def test_a_duplicate_gets_the_first_runs_result
    runs = 0
    results = Array.new(2) { LambdaIdempotency.run("order-1") { { "run" => runs += 1, "big" => 2**70, "é" => nil } } }
    assert_equal [{ "run" => 1, "big" => 2**70, "é" => nil }] * 2, results
  end

  def test_a_key_selected_from_the_event
    runs = 0
    run = ->(event) { LambdaIdempotency.run(event: event, key_jmespath: "[JobId, ObjKey]", context: Context.new("r1", 60_000)) { runs += 1 } }
    assert_equal [1, 1, 2], [run.({ JobId: 1, ObjKey: "a", at: 1 }), run.({ "at" => 2, "ObjKey" => "a", "JobId" => 1 }), run.({ JobId: 2 })]
    error = assert_raises(LambdaIdempotency::ProblemError) { run.({ at: 3 }) }
    assert_equal "key_missing", error.code
  end

  def test_eight_threads_at_once
    runs = Queue.new
    gate = Queue.new
    threads = Array.new(8) do
      Thread.new do
        gate.pop
        LambdaIdempotency.run("order-1", wait: 60) { runs << sleep(0.05) && "done" }
      end
    end
    gate.close
    assert_equal ["done"], threads.map(&:value).uniq
    assert_equal 1, runs.size
  end

  def test_without_waiting_a_run_in_progress_is_an_error
    LambdaIdempotency.run(%w[user order], context: Context.new("r1", 60_000)) do
      error = assert_raises(LambdaIdempotency::InProgressError) { LambdaIdempotency.run(%w[user order]) { flunk "ran twice" } }
      assert_equal "r1", error.request_id
      assert_operator error.retry_after, :>, 0
    end
  end

  def test_a_failure_frees_the_key_and_the_next_run_hears_of_it
    assert_raises(ArgumentError) { LambdaIdempotency.run("k") { raise ArgumentError, "no route" } }
    LambdaIdempotency.run("k") do |claim|
      assert_equal [2, "ArgumentError", "no route"], [claim.attempt, *claim.previous_error.values_at("type", "message")]
    end
  end

  def test_a_final_failure
    assert_raises(Refused) { LambdaIdempotency.run("k", final_errors: [Refused]) { raise Refused, "stolen" } }
    error = assert_raises(LambdaIdempotency::FailedError) { LambdaIdempotency.run("k") { flunk "ran twice" } }
    assert_equal ["SidecarTest::Refused", "stolen"], [error.type, error.message]
  end

  def test_another_payload
    LambdaIdempotency.run("k", payload: { amount: 10 }) { 1 }
    error = assert_raises(LambdaIdempotency::PayloadMismatchError) { LambdaIdempotency.run("k", payload: { amount: 11 }) { flunk "ran" } }
    assert_equal [422, "payload_mismatch"], [error.status, error.code]
  end

  def test_scopes_keep_keys_apart
    assert_equal [1, 2], [LambdaIdempotency.run("k", scope: "a") { 1 }, LambdaIdempotency.run("k", scope: "b") { 2 }]
  end

  def test_the_claim_is_renewed_and_lost
    client = LambdaIdempotency.client
    error = assert_raises(LambdaIdempotency::ClaimLostError) do
      LambdaIdempotency.run("k") do |claim|
        claim.renew(lease: 60)
        client.fail(claim.token)
        client.acquire("k", lease: 60)
        assert_raises(LambdaIdempotency::ClaimLostError) { claim.renew }
        "late"
      end
    end
    assert_equal "late", error.result
  end

  def test_a_wrong_secret
    ENV["IDEMPOTENCY_AUTH_TOKEN"] = "wrong"
    error = assert_raises(LambdaIdempotency::ProblemError) { LambdaIdempotency.run("k") { flunk "ran" } }
    assert_equal [401, "unauthorized"], [error.status, error.code]
  end

  # Its memory is gone, so the claim is unknown to it: what counts here is that the call gets through.
  def test_the_sidecar_restarts_between_two_calls
    assert_equal 1, LambdaIdempotency.run("k") { 1 }
    kill
    start
    assert_equal 2, LambdaIdempotency.run("k") { 2 }
    assert_empty @warnings.texts
  end

  def test_the_sidecar_dies_while_the_work_runs
    assert_equal(1, LambdaIdempotency.run("k") { kill || 1 })
    assert_includes @warnings.texts[0], "is the layer attached, or the local server started?"
  end

  def test_no_sidecar
    kill
    error = assert_raises(LambdaIdempotency::UnavailableError) { LambdaIdempotency.run("k") { flunk "ran" } }
    assert_equal ["no sidecar at http://127.0.0.1:#{@port} (is the layer attached, or the local server started?)", nil], [error.message, error.code]
  end

  private

  def free_port
    listener = TCPServer.new("127.0.0.1", 0)
    listener.addr[1]
  ensure
    listener.close
  end

  def start
    settings = { "IDEMPOTENCY_STORE" => "memory", "IDEMPOTENCY_PORT" => @port.to_s, "IDEMPOTENCY_AUTH_TOKEN" => SECRET }
    @sidecar = spawn(settings, BINARY, %i[out err] => File::NULL)
    1000.times do
      TCPSocket.new("127.0.0.1", @port).close
      return
    rescue Errno::ECONNREFUSED
      break if Process.wait(@sidecar, Process::WNOHANG)

      sleep 0.02
    end
    raise "the sidecar did not start"
  end

  def kill
    return unless @sidecar

    Process.kill(:KILL, @sidecar)
    Process.wait(@sidecar)
    @sidecar = nil
  end
end
