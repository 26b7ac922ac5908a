# frozen_string_literal: true

require "securerandom"

module LambdaIdempotency
  # The verbs of one sidecar's API. May be used by many threads.
  #
  # Answers are Hashes with string names, as the API has them. Errors: ProblemError and what is derived from it, and
  # TypeError for a value that JSON cannot express, before anything is sent.
  class Client
    UNSET = Object.new.freeze
    PROBLEMS = { "payload_mismatch" => PayloadMismatchError, "claim_lost" => ClaimLostError }.freeze
    SECRETS = %w[IDEMPOTENCY_AUTH_TOKEN AWS_SESSION_TOKEN AWS_CONTAINER_AUTHORIZATION_TOKEN].freeze
    private_constant :PROBLEMS, :SECRETS

    # port: IDEMPOTENCY_PORT, else 2774. timeout: seconds after which a call is given up.
    def initialize(port: nil, timeout: 15)
      port ||= ENV["IDEMPOTENCY_PORT"].to_s.empty? ? 2774 : Integer(ENV["IDEMPOTENCY_PORT"], 10)
      @connections = Connections.new(port)
      @timeout = timeout
    end

    # Asks for the claim on a key: a string or two, or what the sidecar selects from an event. Times are in seconds;
    # context is Lambda's, which gives request_id and deadline_ms. Answers with a "status": acquired, completed, failed
    # or in_progress.
    def acquire(key = UNSET, event: UNSET, key_jmespath: nil, payload: UNSET, scope: nil, ttl: nil, wait: nil,
                lease: nil, deadline_ms: nil, request_id: nil, context: nil, detached: nil, client_token: nil,
                symbolize_names: false)
      if context
        request_id ||= context.aws_request_id
        deadline_ms ||= epoch_ms + context.get_remaining_time_in_millis unless lease
      end
      body = { key: key, event: event, payload: payload }.reject { |_, value| UNSET.equal?(value) }
      body.merge!({
        key_jmespath: key_jmespath, scope: scope, ttl_seconds: ttl && Integer(ttl), wait_ms: ms(wait), lease_ms: ms(lease),
        deadline_ms: deadline_ms, request_id: request_id, detached: detached,
        client_token: client_token || SecureRandom.hex(16)
      }.compact)
      call("/acquire", body, "the key, event or payload", @timeout + wait.to_f, symbolize_names)
    end

    # Ends a claim with a result, which duplicates get; without one they get nil.
    def complete(token, result = UNSET, ttl: nil)
      body = { token: token, ttl_seconds: ttl && Integer(ttl) }.compact
      body[:result] = result unless UNSET.equal?(result)
      call("/complete", body, "the result")
    end

    # Ends the claim of work that failed. error is an exception, or a Hash of type and message. retry frees the key;
    # without it the failure is final.
    def fail(token, error = nil, retry: true)
      error = { type: error.class.name || "Error", message: text(error.message) } if error.is_a?(Exception)
      call("/fail", { token: token, error: error, retry: binding.local_variable_get(:retry) }.compact, "the error")
    end

    # Gives a held claim a new lease of so many seconds, never a shorter one.
    def renew(token, lease: nil)
      call("/renew", { token: token, lease_ms: ms(lease) }.compact, "the lease")
    end

    private

    def call(path, body, what, timeout = @timeout, symbolize_names = false)
      response = @connections.post(path, StrictJSON.generate(body, what), headers, timeout)
      status = response.code.to_i
      answer = parse(response.body, symbolize_names && status == 200)
      return answer if status == 200 && answer && answer["status"].is_a?(String)

      raise problem(path, status, answer || {}, response["Retry-After"])
    end

    def headers
      secret = SECRETS.map { |name| ENV[name].to_s }.find { |value| !value.empty? }
      headers = { "Content-Type" => "application/json", "Accept-Encoding" => "identity" }
      headers["X-Idempotency-Auth"] = secret if secret
      headers
    end

    # Names in the answer stay strings; only those in the result are symbolized.
    def parse(body, symbolize_result)
      answer = StrictJSON.parse(body.to_s.dup.force_encoding(Encoding::UTF_8))
      return unless answer.is_a?(Hash)

      answer["result"] = symbolize(answer["result"]) if symbolize_result && answer.key?("result")
      answer
    rescue JSON::ParserError, EncodingError
      nil
    end

    def symbolize(value)
      case value
      when Hash then value.to_h { |name, member| [name.to_sym, symbolize(member)] }
      when Array then value.map { |element| symbolize(element) }
      else value
      end
    end

    def problem(path, status, answer, retry_after)
      code, detail = answer.values_at("code", "detail")
      unless code.is_a?(String)
        return ProblemError.new("#{path} was answered with #{status} and nothing of the sidecar's; is something else on that port?", status: status)
      end
      if status == 503
        return UnavailableError.new(detail, status: status, code: code, retry_after: Float(retry_after, exception: false))
      end

      PROBLEMS.fetch(code, ProblemError).new(detail, status: status, code: code)
    end

    # A message may be in any encoding, or in a broken one; the claim has to be ended all the same.
    def text(message)
      message.to_s.encode(Encoding::UTF_8, invalid: :replace, undef: :replace)
    end

    def ms(seconds) = seconds && (seconds * 1000).round
    def epoch_ms = Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond)
  end
end
