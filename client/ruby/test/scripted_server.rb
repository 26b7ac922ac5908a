# frozen_string_literal: true

require "json"
require "socket"

# A sidecar that answers what it is told to, on a raw socket, and remembers what it was asked.
class ScriptedServer
  # headers: with their names in lower case.
  Request = Struct.new(:path, :headers, :body, :connection)

  attr_reader :requests

  # Each answer is a Hash as in vectors.json, or a String that is sent as it is.
  def initialize(answers)
    @answers = answers.dup
    @requests = []
    @connections = 0
    @lock = Mutex.new
    @listener = TCPServer.new("127.0.0.1", 0)
    @thread = Thread.new { loop { serve(@listener.accept) } }
    @thread.report_on_exception = false
  end

  def port = @listener.addr[1]

  def stop
    @thread.kill
    @listener.close
  end

  private

  def serve(socket)
    number = @connections += 1
    Thread.new do
      while (request = read(socket, number))
        answer = @lock.synchronize { @requests << request; @answers.shift }
        break if answer.nil? || (answer.is_a?(Hash) && answer["drop"])

        socket.write(answer.is_a?(String) ? answer : encode(answer))
        break if answer.is_a?(String)
      end
    rescue IOError, SystemCallError
      # The client hung up.
    ensure
      socket.close
    end
  end

  def read(socket, number)
    line = socket.gets or return
    headers = {}
    until (header = socket.gets.chomp).empty?
      name, value = header.split(": ", 2)
      headers[name.downcase] = value
    end
    body = socket.read(headers["content-length"].to_i)
    Request.new(line.split[1], headers, JSON.parse(body), number)
  end

  def encode(answer)
    body = answer["text"] || JSON.generate(answer["body"])
    type = answer["text"] ? "text/html" : "application/json"
    headers = { "Content-Type" => type, "Content-Length" => body.bytesize }.merge(answer["headers"] || {})
    "HTTP/1.1 #{answer["status"] || 200} Scripted\r\n#{headers.map { |name, value| "#{name}: #{value}\r\n" }.join}\r\n#{body}"
  end
end
