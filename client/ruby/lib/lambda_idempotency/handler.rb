# frozen_string_literal: true

module LambdaIdempotency
  # Makes Lambda handlers idempotent, at the top level as well as in a module or class:
  #
  #   module Orders
  #     extend LambdaIdempotency::Handler
  #
  #     def self.handler(event:, context:)
  #       charge(event)
  #     end
  #     idempotent :handler, key: "[JobId, ObjKey]"
  #   end
  module Handler
    # key is JMESPath, or a Proc that makes the key of the event; without one, the sidecar's IDEMPOTENCY_KEY_JMESPATH
    # selects it, else the whole event is the key. payload is a Proc that makes the payload of the event. Other options
    # are those of LambdaIdempotency.run.
    def idempotent(name, key: nil, payload: nil, **options)
      raise ArgumentError, "key is JMESPath or a Proc, not a #{key.class}" unless key.nil? || key.is_a?(String) || key.is_a?(Proc)
      raise ArgumentError, "payload is a Proc, not a #{payload.class}" unless payload.nil? || payload.is_a?(Proc)

      # A method that is defined at the top level is a private one of every object.
      home = is_a?(Module) || singleton_methods(false).include?(name) ? singleton_class : Object
      work = home.instance_method(name)
      hidden = home.private_method_defined?(name)
      home.send(:remove_method, name) if work.owner == home # else redefining it is warned of
      home.define_method(name) do |event:, context:|
        call = options.merge(context: context)
        call[:payload] = payload.call(event) if payload
        if key.is_a?(Proc)
          call[:key] = key.call(event)
        else
          call[:event] = event
          call[:key_jmespath] = key if key
        end
        LambdaIdempotency.run(call.delete(:key) { Client::UNSET }, **call) { work.bind_call(self, event: event, context: context) }
      end
      home.send(:private, name) if hidden
      name
    end
  end
end
