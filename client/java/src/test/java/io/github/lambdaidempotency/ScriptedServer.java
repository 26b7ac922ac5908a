package io.github.lambdaidempotency;

import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.TreeMap;

/** A sidecar that answers what it is told to, on a raw socket, and remembers what it was asked. */
final class ScriptedServer implements AutoCloseable {
    /** connection: its number, from 1. */
    record Request(String path, Map<String, String> headers, Map<?, ?> body, int connection) {
    }

    private final ServerSocket listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
    private final Queue<Object> answers = new ArrayDeque<>();
    private final List<Request> requests = Collections.synchronizedList(new ArrayList<>());
    private int connections;

    /** Each answer is a map as in vectors.json, or a string that is sent as it is before the connection is closed. */
    ScriptedServer(List<?> answers) throws IOException {
        this.answers.addAll(answers);
        Thread thread = new Thread(this::listen);
        thread.setDaemon(true);
        thread.start();
    }

    int port() {
        return listener.getLocalPort();
    }

    List<Request> requests() {
        return requests;
    }

    List<String> paths() {
        return requests.stream().map(Request::path).toList();
    }

    @Override
    public void close() throws IOException {
        listener.close();
    }

    private void listen() {
        while (!listener.isClosed()) {
            try {
                Socket socket = listener.accept();
                int number = ++connections;
                Thread thread = new Thread(() -> serve(socket, number));
                thread.setDaemon(true);
                thread.start();
            } catch (IOException e) {
                return; // closed
            }
        }
    }

    private void serve(Socket socket, int number) {
        try (socket) {
            for (Request request = read(socket.getInputStream(), number); request != null; request = read(socket.getInputStream(), number)) {
                Object answer;
                synchronized (answers) {
                    requests.add(request);
                    answer = answers.poll();
                }
                if (answer instanceof String raw) {
                    socket.getOutputStream().write(raw.getBytes(StandardCharsets.UTF_8));
                }
                if (!(answer instanceof Map<?, ?> scripted) || Boolean.TRUE.equals(scripted.get("drop"))) {
                    return;
                }
                socket.getOutputStream().write(encode(scripted));
            }
        } catch (IOException e) {
            // The client hung up.
        }
    }

    private static Request read(InputStream in, int number) throws IOException {
        String first = line(in);
        if (first == null) {
            return null;
        }
        Map<String, String> headers = new TreeMap<>(String.CASE_INSENSITIVE_ORDER);
        for (String header = line(in); !header.isEmpty(); header = line(in)) {
            headers.put(header.substring(0, header.indexOf(':')), header.substring(header.indexOf(':') + 2));
        }
        byte[] body = in.readNBytes(Integer.parseInt(headers.get("Content-Length")));
        return new Request(first.split(" ")[1], headers, (Map<?, ?>) JsonReader.read(new String(body, StandardCharsets.UTF_8)), number);
    }

    private static String line(InputStream in) throws IOException {
        StringBuilder line = new StringBuilder();
        for (int b = in.read(); b != '\n'; b = in.read()) {
            if (b < 0) {
                return null;
            }
            if (b != '\r') {
                line.append((char) b);
            }
        }
        return line.toString();
    }

    private static byte[] encode(Map<?, ?> answer) {
        byte[] body = (answer.get("text") instanceof String text ? text : JsonWriter.write(answer.get("body"))).getBytes(StandardCharsets.UTF_8);
        StringBuilder head = new StringBuilder("HTTP/1.1 ").append(answer.containsKey("status") ? answer.get("status") : 200)
                .append(" Scripted\r\nContent-Length: ").append(body.length).append("\r\n");
        if (answer.get("headers") instanceof Map<?, ?> headers) {
            headers.forEach((name, value) -> head.append(name).append(": ").append(value).append("\r\n"));
        }
        byte[] header = head.append("\r\n").toString().getBytes(StandardCharsets.UTF_8);
        byte[] all = new byte[header.length + body.length];
        System.arraycopy(header, 0, all, 0, header.length);
        System.arraycopy(body, 0, all, header.length, body.length);
        return all;
    }
}
