package io.github.lambdaidempotency;

import java.io.IOException;
import java.net.ConnectException;
import java.net.ProtocolException;
import java.net.SocketTimeoutException;
import java.time.Duration;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.concurrent.atomic.AtomicInteger;

/** Kept connections to one sidecar, for any number of threads. */
final class Connections {
    private static final int MAX_IDLE = 16;

    /** retryAfter is null where the answer has none. */
    record Answer(int status, Duration retryAfter, String body) {
    }

    private final int port;
    private final ConcurrentLinkedDeque<Connection> idle = new ConcurrentLinkedDeque<>();
    private final AtomicInteger count = new AtomicInteger(); // of idle, whose own size() walks all of it

    Connections(int port) {
        this.port = port;
    }

    /** Posts and returns the answer. A call whose connection broke is sent once more, on a new one. */
    Answer post(String path, String body, String secret, Duration timeout) {
        long end = System.nanoTime() + timeout.toNanos();
        try {
            try {
                Connection kept = take();
                return attempt(kept == null ? new Connection(port, end) : kept, path, body, secret, end);
            } catch (ConnectException | SocketTimeoutException | ProtocolException e) {
                throw e;
            } catch (IOException broken) {
                for (Connection kept = take(); kept != null; kept = take()) {
                    kept.close(); // as old as the broken one, or older
                }
                return attempt(new Connection(port, end), path, body, secret, end);
            }
        } catch (ConnectException e) {
            throw new UnavailableException("no sidecar at " + address() + " (is the layer attached, or the local server started?)", e);
        } catch (SocketTimeoutException e) {
            throw new UnavailableException("no answer from " + address() + path + " within " + timeout.toMillis() + " ms", e);
        } catch (ProtocolException e) {
            throw new ProblemException(0, null, address() + " does not speak HTTP; is something else on that port? (" + e.getMessage() + ")", e);
        } catch (IOException e) {
            throw new UnavailableException("the connection to " + address() + " broke twice: " + e.getMessage(), e);
        }
    }

    private Answer attempt(Connection connection, String path, String body, String secret, long end) throws IOException {
        boolean reusable = false;
        try {
            Answer answer = connection.post(path, body, secret, end);
            reusable = connection.reusable();
            return answer;
        } finally {
            if (reusable && count.incrementAndGet() <= MAX_IDLE) {
                idle.push(connection);
            } else {
                if (reusable) {
                    count.decrementAndGet();
                }
                connection.close();
            }
        }
    }

    private Connection take() {
        Connection connection = idle.poll();
        if (connection != null) {
            count.decrementAndGet();
        }
        return connection;
    }

    private String address() {
        return "http://127.0.0.1:" + port;
    }
}
