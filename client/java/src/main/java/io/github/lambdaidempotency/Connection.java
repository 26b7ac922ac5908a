package io.github.lambdaidempotency;

import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ProtocolException;
import java.net.Proxy;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;

/**
 * One connection to the sidecar, and as much of HTTP/1.1 as that speaks. Java's own clients do this as well, but the
 * first call of a cold process takes several times as long with HttpURLConnection and twenty times with HttpClient.
 */
final class Connection {
    private static final byte[] LOOPBACK = {127, 0, 0, 1};
    private static final int MAX_LINE = 64 * 1024;
    // What the buffers of a connection take in any case, so that writing it cannot hang.
    private static final int WRITTEN_AT_ONCE = 64 * 1024;

    private final int port;
    private final Socket socket = new Socket(Proxy.NO_PROXY);
    private final InputStream in;
    private final byte[] buffer = new byte[8192];
    private int next; // what was read and not used yet is buffer[next:limit]
    private int limit;
    private boolean closes;
    private long end;

    /** end: System.nanoTime after which to give up. ConnectException: nobody listens. */
    Connection(int port, long end) throws IOException {
        this.port = port;
        this.end = end;
        try {
            socket.connect(new InetSocketAddress(InetAddress.getByAddress(LOOPBACK), port), remaining());
            socket.setTcpNoDelay(true);
            in = socket.getInputStream();
        } catch (IOException e) {
            close();
            throw e;
        }
    }

    /** Whether another call may follow. */
    boolean reusable() {
        return !closes;
    }

    void close() {
        try {
            socket.close();
        } catch (IOException e) {
            // It is closed, which is what is wanted.
        }
    }

    /**
     * SocketTimeoutException: no answer in time. ProtocolException: an answer that is not HTTP. Another IOException: the
     * connection broke.
     */
    Connections.Answer post(String path, String body, String secret, long end) throws IOException {
        this.end = end;
        byte[] content = body.getBytes(StandardCharsets.UTF_8);
        StringBuilder head = new StringBuilder(256).append("POST ").append(path).append(" HTTP/1.1\r\nHost: 127.0.0.1:").append(port)
                .append("\r\nContent-Type: application/json\r\nContent-Length: ").append(content.length).append("\r\n");
        if (secret != null) {
            head.append("X-Idempotency-Auth: ").append(oneLine(secret)).append("\r\n");
        }
        byte[] header = head.append("\r\n").toString().getBytes(StandardCharsets.UTF_8);
        byte[] message = new byte[header.length + content.length];
        System.arraycopy(header, 0, message, 0, header.length);
        System.arraycopy(content, 0, message, header.length, content.length);
        write(message);
        return answer();
    }

    private void write(byte[] message) throws IOException {
        if (message.length <= WRITTEN_AT_ONCE) {
            socket.getOutputStream().write(message);
            return;
        }
        // A write has no timeout of its own, and ends when its socket is closed.
        Thread guard = new Thread(new Runnable() {
            @Override
            public void run() {
                try {
                    Thread.sleep(Math.max(0, (end - System.nanoTime()) / 1_000_000));
                    close();
                } catch (InterruptedException e) {
                    // The message is written.
                }
            }
        }, "lambda-idempotency-write");
        guard.setDaemon(true);
        guard.start();
        try {
            socket.getOutputStream().write(message);
        } catch (IOException e) {
            remaining(); // throws if it was closed for being late
            throw e;
        } finally {
            guard.interrupt();
        }
    }

    private Connections.Answer answer() throws IOException {
        int status = status(line());
        while (status < 200) { // an interim answer
            while (!line().isEmpty()) {
                continue;
            }
            status = status(line());
        }
        long length = -1;
        boolean chunked = false;
        Duration retryAfter = null;
        for (String header = line(); !header.isEmpty(); header = line()) {
            int colon = header.indexOf(':');
            if (colon < 0) {
                throw new ProtocolException("a header without a colon");
            }
            String name = header.substring(0, colon);
            String value = header.substring(colon + 1).trim();
            if (name.equalsIgnoreCase("Content-Length")) {
                length = number(value, 10);
            } else if (name.equalsIgnoreCase("Transfer-Encoding")) {
                chunked = value.equalsIgnoreCase("chunked");
            } else if (name.equalsIgnoreCase("Connection")) {
                closes |= value.equalsIgnoreCase("close");
            } else if (name.equalsIgnoreCase("Retry-After")) {
                retryAfter = seconds(value);
            }
        }
        ByteArrayOutputStream body = new ByteArrayOutputStream();
        if (chunked) {
            for (long size = chunkSize(); size > 0; size = chunkSize()) {
                read(size, body);
                line();
            }
            while (!line().isEmpty()) {
                continue;
            }
        } else if (length >= 0) {
            read(length, body);
        } else {
            closes = true;
            for (int b = read(); b >= 0; b = read()) {
                body.write(b);
            }
        }
        return new Connections.Answer(status, retryAfter, body.toString(StandardCharsets.UTF_8));
    }

    private int status(String line) throws ProtocolException {
        if (!line.startsWith("HTTP/1.") || line.length() < 12) {
            throw new ProtocolException("no status line");
        }
        closes |= line.startsWith("HTTP/1.0");
        return (int) number(line.substring(9, 12), 10);
    }

    private long chunkSize() throws IOException {
        String line = line();
        int extension = line.indexOf(';');
        return number((extension < 0 ? line : line.substring(0, extension)).trim(), 16);
    }

    private static long number(String text, int radix) throws ProtocolException {
        try {
            long number = Long.parseLong(text, radix);
            if (number >= 0) {
                return number;
            }
        } catch (NumberFormatException e) {
            // Said below.
        }
        throw new ProtocolException("no number: " + text);
    }

    // An answer without it is an answer all the same: it may have a date there.
    private static Duration seconds(String value) {
        try {
            return Duration.ofSeconds(number(value, 10));
        } catch (ProtocolException e) {
            return null;
        }
    }

    private void read(long length, ByteArrayOutputStream body) throws IOException {
        for (long left = length; left > 0;) {
            if (next == limit && !fill()) {
                throw new EOFException("the answer broke off");
            }
            int n = (int) Math.min(left, limit - next);
            body.write(buffer, next, n);
            next += n;
            left -= n;
        }
    }

    private String line() throws IOException {
        StringBuilder line = new StringBuilder(80);
        for (int b = read(); b != '\n'; b = read()) {
            if (b < 0) {
                throw new EOFException("the connection was closed");
            }
            if (line.length() == MAX_LINE) {
                throw new ProtocolException("an endless line");
            }
            if (b != '\r') {
                line.append((char) b);
            }
        }
        return line.toString();
    }

    /** A byte, or -1 at the end. */
    private int read() throws IOException {
        return next == limit && !fill() ? -1 : buffer[next++] & 0xff;
    }

    private boolean fill() throws IOException {
        socket.setSoTimeout(remaining());
        next = 0;
        limit = Math.max(0, in.read(buffer));
        return limit > 0;
    }

    /** Milliseconds, at least one. */
    private int remaining() throws SocketTimeoutException {
        long left = (end - System.nanoTime()) / 1_000_000;
        if (left <= 0) {
            throw new SocketTimeoutException("the time is over");
        }
        return (int) Math.min(left, Integer.MAX_VALUE);
    }

    private static String oneLine(String secret) {
        for (int i = 0; i < secret.length(); i++) {
            if (secret.charAt(i) < ' ') {
                throw new IllegalArgumentException("the secret for the sidecar has a control character in it");
            }
        }
        return secret;
    }
}
