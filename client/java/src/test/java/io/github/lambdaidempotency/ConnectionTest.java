package io.github.lambdaidempotency;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.time.Duration;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;

class ConnectionTest extends ClientTestBase {
    private List<Integer> connections() {
        return server.requests().stream().map(ScriptedServer.Request::connection).toList();
    }

    @Test
    void aConnectionIsUsedAgain() throws IOException {
        Client client = script(acquired(), problem(404, "claim_unknown"), released());
        client.acquire(Idempotency.key("k"));
        assertThrows(ProblemException.class, () -> client.complete("t1"));
        client.fail("t1", (Failure) null, true);
        assertEquals(List.of(1, 1, 1), connections());
    }

    @Test
    void aConnectionThatTheServerClosesIsNot() throws IOException {
        Map<?, ?> closing = Map.of("headers", Map.of("Connection", "close"), "body", Map.of("status", "completed"));
        Client client = script(closing, completed());
        client.complete("t1");
        client.complete("t1");
        assertEquals(List.of(1, 2), connections());
    }

    @Test
    void otherFormsOfAnswers() throws IOException {
        Client client = script(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9;x=y\r\n{\"status\"\r\nE\r\n:\"completed\"} \r\n0\r\nX: y\r\n\r\n",
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{\"status\":\"completed\"}",
                "HTTP/1.0 200 OK\r\ncontent-length: 22\r\n\r\n{\"status\":\"completed\"}",
                "HTTP/1.1 503 Busy\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\nContent-Length: 20\r\n\r\n{\"code\":\"store_away\"}".replace("20\r", "21\r"));
        client.complete("t1");
        client.complete("t1");
        client.complete("t1");
        assertNull(assertThrows(UnavailableException.class, () -> client.complete("t1")).retryAfter());
        assertEquals(List.of(1, 2, 3, 4), connections());
    }

    @Test
    void anAnswerCutInHalfIsAskedForAgain() throws IOException {
        Client client = script("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"status\":", completed(),
                "HTTP/1.1 200 OK\r\nContent-Len", completed());
        client.complete("t1");
        client.complete("t1");
        assertEquals(4, server.requests().size());
    }

    @Test
    void whatIsNoHttpIsSaid() throws IOException {
        for (String answer : List.of("SSH-2.0-OpenSSH\r\n", "HTTP/1.1 abc OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
                "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "x".repeat(100_000))) {
            Client client = script(answer);
            ProblemException error = assertThrows(ProblemException.class, () -> client.complete("t1"), answer);
            assertEquals(ProblemException.class, error.getClass());
            assertTrue(error.getMessage().contains("something else"), error.getMessage());
            assertEquals(1, server.requests().size());
            server.close();
        }
    }

    @Test
    void noAnswerIsGivenUp() throws IOException {
        try (ServerSocket deaf = new ServerSocket(0, 50, InetAddress.getLoopbackAddress())) {
            environment.put("IDEMPOTENCY_PORT", String.valueOf(deaf.getLocalPort()));
            Client client = new Client(environment::get, Duration.ofMillis(60));
            UnavailableException error = assertThrows(UnavailableException.class,
                    () -> client.acquire(Idempotency.key("k").wait(Duration.ofMillis(40))));
            assertTrue(error.getMessage().endsWith("within 100 ms"), error.getMessage());
            assertNull(error.code());
            // More than any buffer takes: a write has to end, too, also where encoding took all the time.
            String large = "x".repeat(32 << 20);
            for (int millis : new int[] {500, 1}) {
                Client hasty = new Client(environment::get, Duration.ofMillis(millis));
                error = assertThrows(UnavailableException.class, () -> hasty.complete("t1", large));
                assertTrue(error.getMessage().contains("no answer"), error.getMessage());
            }
        }
    }

    @Test
    void manyThreadsShareAClient() throws Exception {
        Client client = script(Collections.nCopies(80, completed()).toArray());
        ExecutorService threads = Executors.newFixedThreadPool(8);
        Callable<Void> calls = () -> {
            for (int i = 0; i < 10; i++) {
                client.complete("t1");
            }
            return null;
        };
        for (Future<Void> done : threads.invokeAll(Collections.nCopies(8, calls))) {
            done.get();
        }
        threads.shutdown();
        assertEquals(80, server.requests().size());
        assertTrue(Collections.max(connections()) <= 8);
    }

    @Test
    void anInterruptedThreadCanEndItsClaim() throws IOException {
        Client client = script(acquired(), completed());
        assertEquals(1, Idempotency.key("k").client(client).run(Integer.class, claim -> {
            Thread.currentThread().interrupt();
            return 1;
        }));
        assertTrue(Thread.interrupted());
        assertEquals(List.of("/acquire", "/complete"), server.paths());
    }

    @Test
    void theSecretIsReadAtEachCall() throws IOException {
        Client client = script(completed(), completed(), completed(), completed());
        client.complete("t1");
        environment.put("AWS_CONTAINER_AUTHORIZATION_TOKEN", "container");
        client.complete("t1");
        environment.put("AWS_SESSION_TOKEN", "session");
        client.complete("t1");
        environment.put("IDEMPOTENCY_AUTH_TOKEN", "own");
        client.complete("t1");
        assertEquals(Arrays.asList(null, "container", "session", "own"),
                server.requests().stream().map(request -> request.headers().get("x-idempotency-auth")).toList());
    }

    @Test
    void aSecretCannotBringHeaders() throws IOException {
        Client client = script(completed());
        environment.put("IDEMPOTENCY_AUTH_TOKEN", "a\r\nHost: b");
        assertThrows(IllegalArgumentException.class, () -> client.complete("t1"));
        assertEquals(List.of(), server.requests());
    }

    @Test
    void anInvalidPortIsSaid() {
        for (String port : List.of("http", "0", "65536", "-1")) {
            environment.put("IDEMPOTENCY_PORT", port);
            assertTrue(assertThrows(IllegalArgumentException.class, this::client).getMessage().contains("IDEMPOTENCY_PORT"));
        }
    }
}
