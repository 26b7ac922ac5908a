# frozen_string_literal: true

require "json"

module LambdaIdempotency
  # JSON that says what it cannot express. JSON.generate by itself would write any object as
  # the string that to_s makes of it, and a duplicate would get "#<Receipt:0x…>" for a receipt.
  module StrictJSON
    MAX_DEPTH = 200 # as the sidecar has it; a structure that contains itself ends here
    # The to_json that json gives to whatever has none of its own.
    UNSPECIFIC = JSON.generator::GeneratorMethods::Object

    # The JSON text of value. what names it in the TypeError for a value that is no JSON.
    def self.generate(value, what)
      check(value, what, 0)
      JSON.generate(value, max_nesting: MAX_DEPTH)
    rescue TypeError
      raise
    rescue StandardError => error # a to_json of the function's own may raise anything
      raise TypeError, "#{what} is not JSON: #{error.message}"
    end

    def self.parse(text) = JSON.parse(text, max_nesting: false)

    def self.check(value, what, depth)
      raise TypeError, "#{what} is not JSON: it is nested over #{MAX_DEPTH} levels deep, or contains itself" if depth > MAX_DEPTH

      case value
      when nil, true, false, Integer, String, Symbol
      when Float
        raise TypeError, "#{what} is not JSON: #{value} is no JSON number" unless value.finite?
      when Array
        value.each { |element| check(element, what, depth + 1) }
      when Hash
        value.each_value { |member| check(member, what, depth + 1) }
      else
        if value.method(:to_json).owner == UNSPECIFIC
          raise TypeError, "#{what} is not JSON: it has a #{value.class}; give a Hash, an Array, a String, a number, true, false or nil"
        end
      end
    end
    private_class_method :check
  end
end
