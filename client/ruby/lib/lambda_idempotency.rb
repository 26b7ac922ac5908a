# frozen_string_literal: true

require_relative "lambda_idempotency/version"
require_relative "lambda_idempotency/errors"
require_relative "lambda_idempotency/strict_json"
require_relative "lambda_idempotency/connections"
require_relative "lambda_idempotency/client"
require_relative "lambda_idempotency/claim"
require_relative "lambda_idempotency/handler"

# Runs work once per key, through the lambda-idempotency sidecar.
#
#   LambdaIdempotency.run("order-1", context: context) { |claim| charge(order) }
module LambdaIdempotency
  @lock = Mutex.new

  class << self
    # Where warnings go: anything with a method warn(text). Default: standard error.
    attr_accessor :logger
    # The client that run uses by default, so that all calls share their connections.
    attr_writer :client

    def client
      @client || @lock.synchronize { @client ||= Client.new }
    end

    # The claim of the work that runs now in this thread, or nil.
    def current_claim = Thread.current[:lambda_idempotency_claim]

    # Runs the block once per key and returns its result; a duplicate gets the result of the run that was. An error of
    # the block frees the key and is raised as it was; one of final_errors (classes) makes the failure final.
    #
    # Takes the key and options of Client#acquire, and:
    #   symbolize_names: true gives a duplicate its result with symbols for names
    #   client: another one than the default
    #
    # Leave the block by next, not by return or break: its result would be lost, and the run counts as failed.
    #
    # Errors: the block's own; InProgressError, FailedError and ProblemError with what is derived from it; TypeError for
    # a key, event or payload that JSON cannot express, before the work; ResultError for such a result, after it.
    def run(key = Client::UNSET, final_errors: [], client: self.client, symbolize_names: false, **options, &work)
      raise ArgumentError, "no block given: the work" unless work
      return hold(Claim.new(nil, { "fence" => 0, "attempt" => 1 }), &work) if ENV["IDEMPOTENCY_DISABLED"] == "true"

      answer = client.acquire(key, symbolize_names: symbolize_names, **options)
      case answer["status"]
      when "acquired" then execute(client, answer, final_errors, &work)
      when "completed" then replay(answer)
      when "failed" then raise FailedError.new(*(answer["error"] || {}).values_at("type", "message"))
      when "in_progress" then raise InProgressError.new(answer["request_id"], answer["retry_after_ms"].to_i / 1000.0, answer["lease_expires_at"])
      else raise ProblemError.new("an acquire was answered with the status #{answer["status"].inspect}, which this version does not know", status: 200)
      end
    end

    private

    def replay(answer)
      warn_of("the result of the first run was too large to be stored; this duplicate gets nil") if answer["result_omitted"]
      answer["result"]
    end

    def execute(client, answer, final_errors, &work)
      token = answer["token"]
      begin
        result = hold(Claim.new(client, answer), &work)
        returned = true
      rescue Exception => error # also exit and signals leave a claim to be freed
        failed = true
        try_fail(client, token, error, final_errors.none? { |type| type === error })
        raise
      ensure
        unless returned || failed
          # By return, break or throw, which older versions of Timeout use: no result, and no error to be seen.
          warn_of("the work was left by return, break or throw: it counts as failed; leave its block by next")
          try_fail(client, token, { type: "LocalJumpError", message: "the work was left by return, break or throw" }, true)
        end
      end
      complete(client, token, result)
      result
    end

    def hold(claim)
      outer = Thread.current[:lambda_idempotency_claim]
      Thread.current[:lambda_idempotency_claim] = claim
      yield claim
    ensure
      Thread.current[:lambda_idempotency_claim] = outer
    end

    # The work is done. An error here would make Lambda repeat it, so only one is raised that says something of the work.
    def complete(client, token, result)
      client.complete(token, result)
    rescue ClaimLostError => error
      error.result = result
      raise
    rescue TypeError => error
      complete_without_result(client, token)
      raise ResultError.new(error.message, result)
    rescue ProblemError => error
      if error.code == "too_large"
        warn_of("the result is too large to be stored; duplicates get nil")
        complete_without_result(client, token)
      else
        warn_of("the work is done, but its end could not be told: #{error.message}")
      end
    end

    def complete_without_result(client, token)
      client.complete(token)
    rescue ProblemError => error
      warn_of("the work is done, but its end could not be told: #{error.message}")
    end

    # The work's own error is what counts, whatever becomes of this call.
    def try_fail(client, token, error, again)
      client.fail(token, error, retry: again)
    rescue StandardError => problem
      warn_of("the work failed, but its end could not be told: #{problem.message}")
    end

    def warn_of(text)
      text = "lambda-idempotency: #{text}"
      logger ? logger.warn(text) : Kernel.warn(text)
    end
  end
end
