# frozen_string_literal: true

module LambdaIdempotency
  # What the work holds while it runs.
  class Claim
    # The claim's secret; whoever has it can end the claim.
    attr_reader :token
    # A number that only grows for a key: hand it to a downstream store to keep out a late writer.
    attr_reader :fence
    # The number of this run, from 1.
    attr_reader :attempt
    # The type and message of the run before, where that failed; else nil.
    attr_reader :previous_error

    def initialize(client, answer)
      @client = client
      @token, @fence, @attempt, @previous_error = answer.values_at("token", "fence", "attempt", "previous_error")
      @unprotected = answer["unprotected"] == true
    end

    # Whether the store is away and the settings let the work run all the same.
    def unprotected? = @unprotected

    # Gives the claim a new lease of so many seconds, never a shorter one. Raises ClaimLostError.
    def renew(lease: nil)
      @client&.renew(@token, lease: lease)
      nil
    end
  end
end
