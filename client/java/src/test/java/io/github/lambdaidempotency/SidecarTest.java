package io.github.lambdaidempotency;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The real sidecar, on a store in memory. */
class SidecarTest extends ClientTestBase {
    private static final String SECRET = "s3cret";
    private static final Path LOG = Path.of(System.getProperty("jar")).resolveSibling("sidecar.log");

    private record Receipt(String id, java.math.BigInteger big, Integer none) {
    }

    private static final class Refused extends RuntimeException {
        private static final long serialVersionUID = 1L;

        Refused() {
            super("stolen");
        }
    }

    private int port;
    private Process sidecar;
    private Client client;

    @BeforeEach
    void begin() throws Exception {
        try (ServerSocket free = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            port = free.getLocalPort();
        }
        environment.put("IDEMPOTENCY_PORT", String.valueOf(port));
        environment.put("IDEMPOTENCY_AUTH_TOKEN", SECRET);
        start();
        client = client();
    }

    @AfterEach
    void kill() throws InterruptedException {
        sidecar.destroyForcibly().waitFor();
    }

    private void start() throws Exception {
        ProcessBuilder builder = new ProcessBuilder(System.getProperty("sidecar"))
                .redirectErrorStream(true).redirectOutput(LOG.toFile());
        builder.environment().putAll(Map.of("IDEMPOTENCY_STORE", "memory", "IDEMPOTENCY_PORT", String.valueOf(port), "IDEMPOTENCY_AUTH_TOKEN", SECRET));
        sidecar = builder.start();
        for (int i = 0; i < 1000 && sidecar.isAlive(); i++) {
            try {
                new Socket(InetAddress.getLoopbackAddress(), port).close();
                return;
            } catch (IOException notYet) {
                Thread.sleep(20);
            }
        }
        fail("the sidecar did not start: " + Files.readString(LOG));
    }

    private Acquire key(String key) {
        return Idempotency.key(key).client(client);
    }

    private static <T> T never() {
        throw new AssertionError("the work ran");
    }

    @Test
    void aDuplicateGetsTheFirstRunsResult() {
        Receipt first = key("order-1").run(Receipt.class, claim -> new Receipt("é", java.math.BigInteger.TWO.pow(70), null));
        assertEquals(first, key("order-1").run(Receipt.class, claim -> never()));
    }

    @Test
    void aKeySelectedFromTheEvent() {
        String jmespath = "[JobId, ObjKey]";
        assertEquals(1, Idempotency.event(Map.of("JobId", 1, "ObjKey", "a", "at", 1), jmespath).client(client).run(Integer.class, claim -> 1));
        assertEquals(1, Idempotency.event(Map.of("at", 2, "ObjKey", "a", "JobId", 1), jmespath).client(client).run(Integer.class, claim -> never()));
        ProblemException error = assertThrows(ProblemException.class,
                () -> Idempotency.event(Map.of("at", 2), jmespath).client(client).run(Integer.class, claim -> never()));
        assertEquals("key_missing", error.code());
    }

    @Test
    void eightThreadsAtOnce() throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(8);
        CountDownLatch gate = new CountDownLatch(8);
        AtomicInteger runs = new AtomicInteger();
        Callable<String> call = () -> {
            gate.countDown();
            gate.await();
            return key("order-1").wait(Duration.ofMinutes(1)).run(String.class, claim -> {
                Thread.sleep(50);
                return "run " + runs.incrementAndGet();
            });
        };
        Set<String> results = new HashSet<>();
        for (Future<String> result : threads.invokeAll(Collections.nCopies(8, call), 2, TimeUnit.MINUTES)) {
            results.add(result.get());
        }
        threads.shutdown();
        assertEquals(Set.of("run 1"), results);
    }

    @Test
    void withoutWaitingARunInProgressIsAnError() {
        Idempotency.key("user", "order").client(client).context(context("r1", 60_000)).run(Void.class, claim -> {
            InProgressException error = assertThrows(InProgressException.class,
                    () -> Idempotency.key("user", "order").client(client).run(Void.class, again -> never()));
            assertEquals("r1", error.requestId());
            assertFalse(error.retryAfter().isZero());
            return null;
        });
    }

    @Test
    void aFailureFreesTheKeyAndTheNextRunHearsOfIt() {
        assertThrows(IOException.class, () -> key("k").run(Void.class, claim -> {
            throw new IOException("no route");
        }));
        assertEquals(2, key("k").run(Integer.class, claim -> {
            assertEquals(new Failure("java.io.IOException", "no route"), claim.previousError());
            return claim.attempt();
        }));
    }

    @Test
    void aFinalFailure() {
        assertThrows(Refused.class, () -> key("k").finalErrors(Refused.class).run(Void.class, claim -> {
            throw new Refused();
        }));
        FailedException error = assertThrows(FailedException.class, () -> key("k").run(Void.class, claim -> never()));
        assertEquals(List.of(Refused.class.getName(), "stolen"), List.of(error.type(), error.getMessage()));
    }

    @Test
    void anotherPayload() {
        key("k").payload(Map.of("amount", 10)).run(Integer.class, claim -> 1);
        PayloadMismatchException error = assertThrows(PayloadMismatchException.class,
                () -> key("k").payload(Map.of("amount", 11)).run(Integer.class, claim -> never()));
        assertEquals(422, error.status());
    }

    @Test
    void scopesKeepKeysApart() {
        assertEquals(1, key("k").scope("a").run(Integer.class, claim -> 1));
        assertEquals(2, key("k").scope("b").run(Integer.class, claim -> 2));
    }

    @Test
    void theClaimIsRenewedAndLost() {
        ClaimLostException error = assertThrows(ClaimLostException.class, () -> key("k").run(String.class, claim -> {
            claim.renew(Duration.ofMinutes(1));
            client.fail(claim.token(), (Failure) null, true);
            client.acquire(key("k").lease(Duration.ofMinutes(1)));
            assertThrows(ClaimLostException.class, () -> claim.renew(Duration.ofMinutes(1)));
            return "late";
        }));
        assertEquals("late", error.result());
    }

    @Test
    void aWrongSecret() {
        environment.put("IDEMPOTENCY_AUTH_TOKEN", "wrong");
        ProblemException error = assertThrows(ProblemException.class, () -> key("k").run(Void.class, claim -> never()));
        assertEquals("unauthorized", error.code());
    }

    @Test
    void aResultThatIsTooLargeForTheSidecar() {
        String large = "x".repeat(7_000_000);
        assertEquals(large, key("k").run(String.class, claim -> large));
        assertTrue(warnings.get(0).contains("too large"), warnings.get(0));
        assertEquals(null, key("k").run(String.class, claim -> never()));
    }

    // Its memory is gone, so the work runs again: what counts here is that the calls get through.
    @Test
    void theSidecarRestartsBetweenTwoCalls() throws Exception {
        assertEquals(1, key("k").run(Integer.class, claim -> 1));
        kill();
        start();
        assertEquals(2, key("k").run(Integer.class, claim -> 2));
        assertEquals(List.of(), warnings);
    }

    @Test
    void theSidecarDiesWhileTheWorkRuns() throws Exception {
        assertEquals(1, key("k").run(Integer.class, claim -> {
            kill();
            return 1;
        }));
        assertTrue(warnings.get(0).contains("is the layer attached, or the local server started?"), warnings.get(0));
    }

    @Test
    void noSidecar() throws Exception {
        kill();
        UnavailableException error = assertThrows(UnavailableException.class, () -> key("k").run(Void.class, claim -> never()));
        assertEquals("no sidecar at http://127.0.0.1:" + port + " (is the layer attached, or the local server started?)", error.getMessage());
        assertEquals(null, error.code());
    }
}
