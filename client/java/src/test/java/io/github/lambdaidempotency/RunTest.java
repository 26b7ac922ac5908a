package io.github.lambdaidempotency;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.reflect.Type;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class RunTest extends ClientTestBase {
    private record Receipt(String id, int amount) {
    }

    @Test
    void theWorkIsGivenItsClaim() throws IOException {
        Client client = script(ok("""
                {"status":"acquired","token":"t1","fence":1700000000000,"attempt":2,"lease_expires_at":1,"unprotected":true,
                "previous_error":{"type":"A","message":"b"}}"""), ok("{\"status\":\"acquired\",\"lease_expires_at\":9}"), completed());
        Idempotency.key("k").client(client).run(Void.class, claim -> {
            assertEquals("t1", claim.token());
            assertEquals(1700000000000L, claim.fence());
            assertEquals(2, claim.attempt());
            assertEquals(new Failure("A", "b"), claim.previousError());
            assertTrue(claim.unprotected());
            assertEquals(Instant.ofEpochMilli(9), claim.renew(Duration.ofMinutes(1)));
            return null;
        });
        assertEquals(List.of("/acquire", "/renew", "/complete"), server.paths());
        assertEquals(Map.of("token", "t1", "lease_ms", 60_000L), server.requests().get(1).body());
    }

    @Test
    void disabledRunsAtOnceAndCallsNobody() {
        environment.put("IDEMPOTENCY_DISABLED", "true");
        environment.put("IDEMPOTENCY_PORT", "1");
        assertEquals("0 1", Idempotency.key("k").client(client()).run(String.class, claim -> {
            assertTrue(claim.renew(Duration.ofMinutes(1)).isAfter(Instant.now()));
            assertNull(claim.previousError());
            return claim.fence() + " " + claim.attempt();
        }));
    }

    @Test
    void aReplayHasItsType() throws IOException {
        Map<?, ?> answer = ok("{\"status\":\"completed\",\"result\":{\"id\":\"r1\",\"amount\":7}}");
        Map<?, ?> list = ok("{\"status\":\"completed\",\"result\":[{\"id\":\"r1\",\"amount\":7}]}");
        Client client = script(answer, answer, list);
        Receipt receipt = Idempotency.key("k").client(client).run(Receipt.class, claim -> new Receipt("never", 0));
        assertEquals(new Receipt("r1", 7), receipt);
        assertThrows(IllegalArgumentException.class, () -> Idempotency.key("k").client(client).run(Integer.class, claim -> 1));
        Type type = new Object() {
            @SuppressWarnings("unused")
            List<Receipt> field;
        }.getClass().getDeclaredFields()[0].getGenericType();
        List<Receipt> receipts = Idempotency.key("k").client(client).runAs(type, claim -> List.of());
        assertEquals(List.of(receipt), receipts);
    }

    @Test
    void aCodecOfOnesOwn() throws IOException {
        Client client = script(acquired(), completed(), ok("{\"status\":\"completed\",\"result\":{ \"as\" : 1.0 }}"), acquired());
        Client own = client.withCodec(new Codec() {
            @Override
            public String toJson(Object value) throws Exception {
                if (value instanceof Thread) {
                    throw new Exception("it is alive");
                }
                return "{\"own\":\"" + value + "\"}";
            }

            @Override
            public Object fromJson(String json, Type type) {
                return json + type.getTypeName();
            }
        });
        Idempotency.key("k").payload(1).client(own).run(String.class, claim -> "result");
        assertEquals(Map.of("own", "1"), server.requests().get(0).body().get("payload"));
        assertEquals(Map.of("own", "result"), server.requests().get(1).body().get("result"));
        assertEquals("{\"as\":1.0}java.lang.String", Idempotency.key("k").client(own).run(String.class, claim -> "never"));
        Exception error = assertThrows(IllegalArgumentException.class,
                () -> Idempotency.key("k").payload(Thread.currentThread()).client(own).run(String.class, claim -> "never"));
        assertEquals("the payload is not JSON: it is alive", error.getMessage());
    }

    @Test
    void whatIsNoJsonIsRefusedBeforeTheWork() throws IOException {
        Client client = script();
        assertThrows(IllegalArgumentException.class, () -> Idempotency.event(new Object()).client(client).run(Void.class, claim -> {
            throw new AssertionError("the work ran");
        }));
        assertEquals(List.of(), server.requests());
    }

    @Test
    void aResultThatIsNoJsonEndsTheClaimAllTheSame() throws IOException {
        Client client = script(acquired(), completed());
        Thread result = new Thread();
        ResultException error = assertThrows(ResultException.class, () -> Idempotency.key("k").client(client).run(Thread.class, claim -> result));
        assertSame(result, error.result());
        assertEquals("the result is not JSON: it has a java.lang.Thread, which needs a Codec", error.getMessage());
        assertEquals(List.of(Map.of("token", "t1")), server.requests().stream().skip(1).map(ScriptedServer.Request::body).toList());
    }

    @Test
    void aResultThatIsTooLargeIsLeftOut() throws IOException {
        Client client = script(acquired(), problem(413, "too_large"), completed());
        assertEquals(1, Idempotency.key("k").client(client).run(Integer.class, claim -> 1));
        assertEquals(Map.of("token", "t1"), server.requests().get(2).body());
        assertEquals(1, warnings.size());
    }

    @Test
    void anotherProblemOnCompleteDoesNotUndoTheWork() throws IOException {
        Client client = script(acquired(), problem(404, "claim_unknown"));
        assertEquals(1, Idempotency.key("k").client(client).run(Integer.class, claim -> 1));
        assertTrue(warnings.get(0).contains("claim_unknown: why"), warnings.get(0));
    }

    @Test
    void anErrorIsThrownAsItWas() throws IOException {
        Client client = script(acquired(), released(), acquired(), released());
        IOException checked = new IOException("no route");
        assertSame(checked, assertThrows(IOException.class, () -> Idempotency.key("k").client(client).run(Void.class, claim -> {
            throw checked;
        })));
        assertThrows(StackOverflowError.class, () -> Idempotency.key("k").client(client).finalErrors(Error.class).run(Void.class, claim -> {
            throw new StackOverflowError();
        }));
        assertEquals(Map.of("token", "t1", "retry", true, "error", Map.of("type", "java.io.IOException", "message", "no route")), server.requests().get(1).body());
        assertEquals(Map.of("token", "t1", "retry", false, "error", Map.of("type", "java.lang.StackOverflowError", "message", "java.lang.StackOverflowError")),
                server.requests().get(3).body());
    }

    @Test
    void theVerbsSendWhatTheyAreGiven() throws IOException {
        Client client = script(acquired(), completed(), released(), ok("{\"status\":\"acquired\",\"lease_expires_at\":9}"), acquired(), acquired());
        client.acquire(Idempotency.key("k").lease(Duration.ofMillis(1500)).detached().clientToken("0123456789abcdef").context(context("r1", 3000)));
        client.complete("t1", null, Duration.ofMinutes(1));
        client.fail("t1", new Failure("A", null), false);
        client.renew("t1", null);
        client.acquire(Idempotency.key("k").payload(null).context(null));
        client.acquire(Idempotency.key("k"));
        List<Map<?, ?>> bodies = server.requests().stream().<Map<?, ?>>map(ScriptedServer.Request::body).toList();
        assertEquals(JsonReader.read("""
                [{"key": "k", "lease_ms": 1500, "detached": true, "client_token": "0123456789abcdef", "request_id": "r1"},
                {"token": "t1", "result": null, "ttl_seconds": 60}, {"token": "t1", "error": {"type": "A"}, "retry": false}, {"token": "t1"}]"""),
                bodies.subList(0, 4));
        assertTrue(bodies.get(4).containsKey("payload"));
        assertFalse(bodies.get(5).containsKey("payload"));
        assertNotEquals(bodies.get(4).get("client_token"), bodies.get(5).get("client_token"));
    }

    @Test
    void aKeyOfTwoNeedsBoth() {
        assertThrows(NullPointerException.class, () -> Idempotency.key("a", null));
    }
}
