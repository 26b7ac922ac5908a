package io.github.lambdaidempotency;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** The contract of all clients: client/vectors.json. */
class VectorsTest extends ClientTestBase {
    private static class WorkException extends Exception {
        private static final long serialVersionUID = 1L;

        WorkException(String message) {
            super(message);
        }
    }

    private static final class FinalException extends WorkException {
        private static final long serialVersionUID = 1L;

        FinalException(String message) {
            super(message);
        }
    }

    @TestFactory
    Stream<DynamicTest> cases() throws IOException {
        Map<?, ?> vectors = (Map<?, ?>) JsonReader.read(Files.readString(Path.of(System.getProperty("vectors"))));
        List<?> cases = (List<?>) vectors.get("cases");
        assertFalse(cases.isEmpty());
        return cases.stream().map(vector -> DynamicTest.dynamicTest((String) ((Map<?, ?>) vector).get("name"), () -> {
            warnings.clear();
            check((Map<?, ?>) vector);
        }));
    }

    private void check(Map<?, ?> vector) throws IOException {
        Client client = script(((List<?>) vector.get("answers")).toArray());
        long before = System.currentTimeMillis();
        int[] runs = {0};
        Object returned = null;
        Exception thrown = null;
        Map<?, ?> work = (Map<?, ?>) vector.get("work");
        Map<?, ?> call = (Map<?, ?>) vector.get("call");
        try {
            returned = acquire(call).client(client).run(Object.class, claim -> {
                runs[0]++;
                if (work.get("throws") instanceof String message) {
                    throw call.containsKey("final") ? new FinalException(message) : new WorkException(message);
                }
                return work.get("returns");
            });
        } catch (Exception e) {
            thrown = e;
        } finally {
            server.close();
        }
        checkRequests(vector, call, before);
        assertEquals(vector.get("runs"), (long) runs[0]);
        checkOutcome((Map<?, ?>) vector.get("outcome"), returned, thrown);
    }

    private static Acquire acquire(Map<?, ?> call) {
        Acquire acquire;
        if (call.get("key") instanceof List<?> pair) {
            acquire = Idempotency.key((String) pair.get(0), (String) pair.get(1));
        } else if (call.get("key") instanceof String key) {
            acquire = Idempotency.key(key);
        } else {
            acquire = Idempotency.event(call.get("event"), (String) call.get("key_jmespath"));
        }
        if (call.containsKey("payload")) {
            acquire.payload(call.get("payload"));
        }
        if (call.containsKey("scope")) {
            acquire.scope((String) call.get("scope"));
        }
        if (call.containsKey("ttl_seconds")) {
            acquire.ttl(Duration.ofSeconds((Long) call.get("ttl_seconds")));
        }
        if (call.containsKey("wait_ms")) {
            acquire.wait(Duration.ofMillis((Long) call.get("wait_ms")));
        }
        if (call.containsKey("request_id")) {
            acquire.context(context((String) call.get("request_id"), ((Long) call.get("remaining_ms")).intValue()));
        }
        return acquire.finalErrors(FinalException.class);
    }

    private void checkRequests(Map<?, ?> vector, Map<?, ?> call, long before) {
        List<?> expected = (List<?>) vector.get("requests");
        assertEquals(expected.stream().map(request -> ((Map<?, ?>) request).get("path")).toList(), server.paths());
        Set<Object> clientTokens = new HashSet<>();
        for (int i = 0; i < expected.size(); i++) {
            Map<?, ?> want = (Map<?, ?>) expected.get(i);
            Map<Object, Object> body = new HashMap<>(server.requests().get(i).body());
            Object clientToken = body.remove("client_token");
            Object deadline = body.remove("deadline_ms");
            Object error = body.remove("error");
            assertEquals(want.get("body"), body); // these members and no others
            if (want.get("path").equals("/acquire")) {
                assertTrue(((String) clientToken).length() >= 16);
                clientTokens.add(clientToken);
            } else {
                assertNull(clientToken);
            }
            if (want.containsKey("error_message")) {
                assertEquals(want.get("error_message"), ((Map<?, ?>) error).get("message"));
            } else {
                assertNull(error);
            }
            if (Boolean.TRUE.equals(want.get("deadline"))) {
                assertEquals(before + (Long) call.get("remaining_ms"), (Long) deadline, 2000);
            } else {
                assertNull(deadline);
            }
        }
        assertEquals(1, clientTokens.size());
    }

    private void checkOutcome(Map<?, ?> want, Object returned, Exception thrown) {
        if (!want.containsKey("error")) {
            assertNull(thrown);
            assertEquals(want.get("returns"), returned);
            assertEquals(want.containsKey("warning") ? 1 : 0, warnings.size());
            return;
        }
        if (want.get("error").equals("work")) {
            assertTrue(thrown instanceof WorkException, String.valueOf(thrown));
        } else {
            assertEquals(want.get("error"), thrown.getClass().getSimpleName().replaceFirst("Exception$", "Error"));
        }
        want.forEach((name, value) -> {
            switch ((String) name) {
                case "error" -> { }
                case "message" -> assertEquals(value, thrown.getMessage());
                case "type" -> assertEquals(value, ((FailedException) thrown).type());
                case "request_id" -> assertEquals(value, ((InProgressException) thrown).requestId());
                case "lease_expires_at" -> assertEquals(value, ((InProgressException) thrown).leaseExpiresAt().toEpochMilli());
                case "code" -> assertEquals(value, ((ProblemException) thrown).code());
                case "detail" -> assertEquals(value, ((ProblemException) thrown).detail());
                case "result" -> assertEquals(value, ((ClaimLostException) thrown).result());
                case "retry_after_ms" -> assertEquals(value, (thrown instanceof InProgressException busy
                        ? busy.retryAfter() : ((UnavailableException) thrown).retryAfter()).toMillis());
                default -> throw new AssertionError("the outcome has a " + name);
            }
        });
    }
}
