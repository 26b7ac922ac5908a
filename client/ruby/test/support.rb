# frozen_string_literal: true

require "minitest/autorun"
require "lambda_idempotency"
require_relative "scripted_server"

# Lambda's context, as far as the client looks at it.
Context = Struct.new(:aws_request_id, :remaining_ms) do
  def get_remaining_time_in_millis = remaining_ms
end

# Keeps warnings instead of writing them.
class WarningList
  attr_reader :texts

  def initialize = @texts = []
  def warn(text) = @texts << text
end

class ClientTest < Minitest::Test
  NAMES = %w[IDEMPOTENCY_PORT IDEMPOTENCY_AUTH_TOKEN IDEMPOTENCY_DISABLED AWS_SESSION_TOKEN AWS_CONTAINER_AUTHORIZATION_TOKEN http_proxy].freeze

  def setup
    @environment = ENV.to_h.slice(*NAMES)
    NAMES.each { |name| ENV.delete(name) }
    LambdaIdempotency.client = nil
    LambdaIdempotency.logger = @warnings = WarningList.new
  end

  def teardown
    @server&.stop
    NAMES.each { |name| ENV[name] = @environment[name] }
  end

  # Answers the default client's calls in turn.
  def script(*answers)
    @server = ScriptedServer.new(answers)
    ENV["IDEMPOTENCY_PORT"] = @server.port.to_s
    @server
  end

  def acquired(**more)
    { "body" => { "status" => "acquired", "token" => "t1", "fence" => 5, "attempt" => 1, "lease_expires_at" => 1 }.merge(more.transform_keys(&:to_s)) }
  end

  def completed = { "body" => { "status" => "completed" } }
  def released = { "body" => { "status" => "released" } }
  def paths = @server.requests.map(&:path)
end
