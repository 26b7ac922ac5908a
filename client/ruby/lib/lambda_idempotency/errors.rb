# frozen_string_literal: true

module LambdaIdempotency
  # What every error of this client is.
  class Error < StandardError; end

  # Another run holds the key.
  class InProgressError < Error
    # The invocation that holds it, or nil.
    attr_reader :request_id
    # Seconds after which it is worth to ask again.
    attr_reader :retry_after
    # When that claim lapses by itself, in epoch milliseconds, or nil.
    attr_reader :lease_expires_at

    def initialize(request_id, retry_after, lease_expires_at = nil)
      @request_id = request_id
      @retry_after = retry_after
      @lease_expires_at = lease_expires_at
      super("the work is in progress in request #{request_id || "unknown"}; try again in #{retry_after} s")
    end
  end

  # An earlier run failed for good; the message is that failure's.
  class FailedError < Error
    # The class of that failure's error, as a string.
    attr_reader :type

    def initialize(type, message)
      @type = type
      super(message)
    end
  end

  # The work is done, and its result is no JSON. The claim is completed without one: duplicates get nil.
  class ResultError < Error
    # What the work returned.
    attr_reader :result

    def initialize(message, result)
      @result = result
      super(message)
    end
  end

  # The sidecar answered with a problem. docs/problems.md says of each code what to do.
  class ProblemError < Error
    # The HTTP status, or nil where there was no answer.
    attr_reader :status
    # The stable name of the problem, or nil where the answer was none of the sidecar's.
    attr_reader :code
    # What is wrong, for a person.
    attr_reader :detail

    def initialize(detail, status: nil, code: nil)
      @status = status
      @code = code
      @detail = detail
      super([code, detail].compact.join(": "))
    end
  end

  # The key was used with another payload.
  class PayloadMismatchError < ProblemError; end

  # The claim lapsed and another run took the key, or ended it.
  class ClaimLostError < ProblemError
    # What the work returned, where the claim was lost after it.
    attr_accessor :result
  end

  # There is no sidecar, it gave no answer, or it has no store.
  class UnavailableError < ProblemError
    # Seconds after which it is worth to ask again, or nil.
    attr_reader :retry_after

    def initialize(detail, status: nil, code: nil, retry_after: nil)
      @retry_after = retry_after
      super(detail, status: status, code: code)
    end
  end
end
