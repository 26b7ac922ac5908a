# frozen_string_literal: true

require "net/http"

module LambdaIdempotency
  # Kept connections to one sidecar, for any number of threads.
  class Connections
    MAX_IDLE = 16
    BROKEN = [IOError, SystemCallError].freeze # EOFError is an IOError
    private_constant :MAX_IDLE, :BROKEN

    def initialize(port)
      @port = port
      @idle = []
      @pid = Process.pid
      @lock = Mutex.new
    end

    # Posts and returns the answer. A call whose connection broke is sent once more, on a new one.
    # Raises UnavailableError, and ProblemError for an answer that is not HTTP.
    def post(path, body, headers, timeout)
      attempt(take || open_connection(timeout), path, body, headers, timeout)
    rescue *BROKEN
      begin
        drop # what else is kept is as old or older
        attempt(open_connection(timeout), path, body, headers, timeout)
      rescue *BROKEN => error
        raise UnavailableError, "the connection to #{address} broke twice: #{error.message}"
      end
    end

    private

    def address = "http://127.0.0.1:#{@port}"

    def attempt(http, path, body, headers, timeout)
      http.read_timeout = http.write_timeout = timeout
      response = http.request(Net::HTTP::Post.new(path, headers), body)
      kept = keep(http) unless response["Connection"].to_s.casecmp?("close")
      response
    rescue Net::ReadTimeout, Net::WriteTimeout
      raise UnavailableError, "no answer from #{address}#{path} within #{timeout} s"
    rescue Net::HTTPBadResponse, Net::HTTPHeaderSyntaxError, Net::ProtocolError => error
      raise ProblemError, "#{address} does not speak HTTP; is something else on that port? (#{error.message})"
    ensure
      # Also when a Timeout or Thread#raise of the caller's cut the call off: half an answer may be on its way.
      close(http) unless kept
    end

    def open_connection(timeout)
      http = Net::HTTP.new("127.0.0.1", @port, nil) # nil: past any proxy
      http.open_timeout = timeout
      http.keep_alive_timeout = 86_400 # the sidecar closes no idle connection; one that broke is noticed
      http.max_retries = 0
      http.ignore_eof = false # an answer that broke off is no answer
      http.start
    rescue Errno::ECONNREFUSED
      raise UnavailableError, "no sidecar at #{address} (is the layer attached, or the local server started?)"
    rescue Net::OpenTimeout
      raise UnavailableError, "no connection to #{address} within #{timeout} s"
    end

    def take
      @lock.synchronize do
        if @pid != Process.pid # a fork: its connections are the parent's
          @idle.clear
          @pid = Process.pid
        end
        @idle.pop
      end
    end

    def keep(http)
      @lock.synchronize { @idle.size < MAX_IDLE && @idle.push(http) && true }
    end

    def drop
      @lock.synchronize { @idle.slice!(0..) }.each { |http| close(http) }
    end

    def close(http)
      http.finish if http.started?
    rescue IOError, SystemCallError
      # It is closed, which is what is wanted.
    end
  end
end
