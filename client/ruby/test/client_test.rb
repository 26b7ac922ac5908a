# frozen_string_literal: true

require_relative "support"
require "timeout"

class ClientVerbsTest < ClientTest
  def test_a_connection_is_used_again
    script(acquired, completed, acquired, completed)
    2.times { LambdaIdempotency.run("order-1") { 1 } }
    assert_equal [1, 1, 1, 1], @server.requests.map(&:connection)
  end

  def test_each_acquire_has_a_client_token_of_its_own
    script(acquired, acquired)
    client = LambdaIdempotency::Client.new
    2.times { client.acquire("order-1") }
    assert_equal 2, @server.requests.map { |request| request.body["client_token"] }.uniq.size
  end

  def test_the_secret_is_read_at_each_call
    script(acquired, acquired, acquired, acquired)
    client = LambdaIdempotency::Client.new
    client.acquire("k")
    ENV["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "container"
    client.acquire("k")
    ENV["AWS_SESSION_TOKEN"] = "session"
    client.acquire("k")
    ENV["IDEMPOTENCY_AUTH_TOKEN"] = "own"
    client.acquire("k")
    assert_equal [nil, "container", "session", "own"], @server.requests.map { |request| request.headers["x-idempotency-auth"] }
  end

  def test_a_proxy_is_passed_by
    script(acquired)
    ENV["http_proxy"] = "http://127.0.0.1:1"
    assert_equal "t1", LambdaIdempotency::Client.new.acquire("k")["token"]
  end

  def test_verbs_send_what_they_are_given
    script(acquired, completed, released, { "body" => { "status" => "acquired", "lease_expires_at" => 9 } })
    client = LambdaIdempotency::Client.new
    client.acquire("k", lease: 1.5, detached: true, client_token: "0123456789abcdef", deadline_ms: nil)
    client.complete("t1", ttl: 60)
    client.fail("t1", { type: "A", message: "b" }, retry: false)
    assert_equal 9, client.renew("t1", lease: 2)["lease_expires_at"]
    assert_equal [
      { "key" => "k", "lease_ms" => 1500, "detached" => true, "client_token" => "0123456789abcdef" },
      { "token" => "t1", "ttl_seconds" => 60 },
      { "token" => "t1", "error" => { "type" => "A", "message" => "b" }, "retry" => false },
      { "token" => "t1", "lease_ms" => 2000 }
    ], @server.requests.map(&:body)
  end

  def test_a_lease_goes_before_the_contexts_deadline
    script(acquired)
    LambdaIdempotency::Client.new.acquire("k", lease: 1, context: Context.new("r1", 3000))
    assert_equal %w[client_token key lease_ms request_id], @server.requests[0].body.keys.sort
  end

  def test_no_answer_is_given_up
    listener = TCPServer.new("127.0.0.1", 0)
    client = LambdaIdempotency::Client.new(port: listener.addr[1], timeout: 0.05)
    error = assert_raises(LambdaIdempotency::UnavailableError) { client.acquire("k", wait: 0.05) }
    assert_includes error.message, "no answer"
    assert_includes error.message, "within 0.1 s"
  ensure
    listener&.close
  end

  def test_what_is_no_http_is_said
    script("SSH-2.0-OpenSSH\r\n")
    error = assert_raises(LambdaIdempotency::ProblemError) { LambdaIdempotency::Client.new.acquire("k") }
    assert_includes error.message, "something else"
    assert_equal 1, @server.requests.size
  end

  def test_an_answer_cut_in_half_is_asked_for_again
    script("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"status\":", acquired)
    assert_equal "t1", LambdaIdempotency::Client.new.acquire("k")["token"]
    assert_equal [1, 2], @server.requests.map(&:connection)
  end

  def test_an_answer_in_chunks
    script("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{\"status\"\r\ne\r\n:\"acquired\"}  \r\n0\r\n\r\n")
    assert_equal "acquired", LambdaIdempotency::Client.new.acquire("k")["status"]
  end

  def test_a_call_that_was_cut_off_leaves_no_half_answer_behind
    hung = TCPServer.new("127.0.0.1", 0)
    client = LambdaIdempotency::Client.new(port: hung.addr[1])
    assert_raises(Timeout::Error) { Timeout.timeout(0.05) { client.acquire("k") } }
    accepted = hung.accept
    request = accepted.readpartial(10_000) # and after it the end, for the connection was closed
    assert_includes request, "POST /acquire"
    assert_raises(EOFError) { Timeout.timeout(30) { accepted.readpartial(10_000) while true } }
  ensure
    hung&.close
  end

  def test_many_threads_and_a_fork_share_a_client
    script(*Array.new(40) { acquired })
    client = LambdaIdempotency::Client.new
    Array.new(8) { Thread.new { 4.times { client.acquire("k") } } }.each(&:join)
    kept = @server.requests.map(&:connection).uniq
    assert_operator kept.size, :<=, 8
    child = fork { exit!(client.acquire("k")["token"] == "t1") }
    assert_equal true, Process.wait2(child)[1].success?
    refute_includes kept, @server.requests.last.connection
    client.acquire("k")
    assert_includes kept, @server.requests.last.connection
  end

  def test_an_invalid_port_is_said
    ENV["IDEMPOTENCY_PORT"] = "http"
    assert_raises(ArgumentError) { LambdaIdempotency::Client.new }
  end
end
