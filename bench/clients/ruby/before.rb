module Orders
  def self.handler(event:, context:)
    { "done" => event["JobId"] }
  end
end
