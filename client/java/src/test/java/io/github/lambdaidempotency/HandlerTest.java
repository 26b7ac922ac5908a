package io.github.lambdaidempotency;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.amazonaws.services.lambda.runtime.Context;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class HandlerTest extends ClientTestBase {
    record Receipt(String id, long fence) {
    }

    static class Orders extends IdempotentHandler<Map<String, Object>, List<Receipt>> {
        @Override
        protected Acquire acquire(Map<String, Object> event) {
            return Idempotency.event(event, "[JobId, ObjKey]").finalErrors(IllegalStateException.class);
        }

        @Override
        protected List<Receipt> handle(Map<String, Object> event, Context context, Claim claim) {
            if (event.containsKey("broken")) {
                throw new IllegalStateException("broken");
            }
            return List.of(new Receipt(event.get("JobId") + context.getAwsRequestId(), claim.fence()));
        }
    }

    static final class MoreOrders extends Orders {
    }

    static final class Whole extends IdempotentHandler<String, String> {
        @Override
        protected String handle(String event, Context context, Claim claim) {
            return event;
        }
    }

    static class Open<R> extends IdempotentHandler<String, R> {
        @Override
        protected R handle(String event, Context context, Claim claim) {
            return null;
        }
    }

    @AfterEach
    void forget() {
        Idempotency.use(null);
    }

    @Test
    void aHandlerRunsOncePerKey() throws IOException {
        Idempotency.use(script(acquired(), completed(), ok("{\"status\":\"completed\",\"result\":[{\"id\":\"1r1\",\"fence\":5}]}")));
        Map<String, Object> event = Map.of("JobId", 1, "ObjKey", "a/b");
        List<Receipt> first = new MoreOrders().handleRequest(event, context("r1", 3000));
        List<Receipt> duplicate = new MoreOrders().handleRequest(event, context("r2", 3000));
        assertEquals(List.of(new Receipt("1r1", 5)), first);
        assertEquals(first, duplicate);
        Map<?, ?> body = server.requests().get(0).body();
        assertEquals(Map.of("JobId", 1L, "ObjKey", "a/b"), body.get("event"));
        assertEquals("[JobId, ObjKey]", body.get("key_jmespath"));
        assertEquals("r1", body.get("request_id"));
        assertTrue(body.containsKey("deadline_ms"));
    }

    @Test
    void aFailure() throws IOException {
        Idempotency.use(script(acquired(), released()));
        assertThrows(IllegalStateException.class, () -> new Orders().handleRequest(Map.of("broken", 1), context("r1", 3000)));
        assertEquals(false, server.requests().get(1).body().get("retry"));
    }

    @Test
    void theWholeEventIsTheKey() throws IOException {
        Idempotency.use(script(acquired(), completed()));
        assertEquals("e", new Whole().handleRequest("e", null));
        Map<?, ?> body = server.requests().get(0).body();
        assertEquals("e", body.get("event"));
        assertEquals(2, body.size(), body.toString()); // and a client token
    }

    @Test
    void aHandlerHasToNameItsTypes() {
        assertThrows(IllegalStateException.class, () -> new Open<String>());
    }
}
