# frozen_string_literal: true

# Runs the handlers beside it and prints what that took, as JSON: driver.rb cold before|after bare|lambda, or
# driver.rb calls WARM ROUNDS.

RUN = rand(1 << 64).to_s(36)

Context = Struct.new(:aws_request_id) do
  def get_remaining_time_in_millis = 30_000
end

def event(number) = { "JobId" => "#{RUN}-#{number}", "ObjKey" => "a/b" }

def timed
  begun = Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
  result = yield
  [Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond) - begun, result]
end

# Each file in a module of its own: both define Orders.
def load_orders(which)
  home = Module.new
  load(File.join(__dir__, "#{which}.rb"), home)
  home::Orders
end

def cold(which, on)
  %w[net/http json logger].each { |name| require name } if on == "lambda" # as Lambda's runtime client for Ruby does
  load_ns, orders = timed { load_orders(which) }
  call_ns, = timed { orders.handler(event: event(0), context: Context.new("request-#{RUN}-0")) }
  { load_ns: load_ns, call_ns: call_ns }
end

def calls(warm, rounds)
  plain = load_orders("before")
  guarded = load_orders("after")
  times = { plain: [], first: [], duplicate: [] }
  (warm + rounds).times do |number|
    results = [[:plain, plain], [:first, guarded], [:plain, plain], [:duplicate, guarded]].map do |kind, orders|
      given = event(number)
      context = Context.new("request-#{RUN}-#{number}")
      took, result = timed { orders.handler(event: given, context: context) }
      times[kind] << took if number >= warm
      result
    end
    abort "the results differ: #{results}" if results.uniq.size != 1
  end
  times
end

answer = ARGV[0] == "cold" ? cold(*ARGV[1..]) : calls(*ARGV[1..].map(&:to_i))
require "json"
puts JSON.generate(answer)
