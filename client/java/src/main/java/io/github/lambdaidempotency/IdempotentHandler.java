package io.github.lambdaidempotency;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;

/**
 * A Lambda handler whose work is run once per key.
 *
 * <pre>{@code
 * public class Orders extends IdempotentHandler<Map<String, Object>, Receipt> {
 *     protected Acquire acquire(Map<String, Object> event) {
 *         return Idempotency.event(event, "[JobId, ObjKey]");
 *     }
 *
 *     protected Receipt handle(Map<String, Object> event, Context context, Claim claim) {
 *         return charge(event);
 *     }
 * }
 * }</pre>
 */
public abstract class IdempotentHandler<E, R> implements RequestHandler<E, R> {
    private final Type result = resultType(getClass());

    /** The work. */
    protected abstract R handle(E event, Context context, Claim claim);

    /**
     * What the claim is made on, with its options; the context is added. Without this the sidecar selects the key with
     * IDEMPOTENCY_KEY_JMESPATH, else the whole event is the key.
     */
    protected Acquire acquire(E event) {
        return Idempotency.event(event);
    }

    @Override
    public final R handleRequest(E event, Context context) {
        // No lambda expression: the first one of a cold process costs it tens of milliseconds.
        return acquire(event).context(context).runAs(result, new Work<R, RuntimeException>() {
            @Override
            public R run(Claim claim) {
                return handle(event, context, claim);
            }
        });
    }

    private static Type resultType(Class<?> handler) {
        Class<?> type = handler;
        while (type.getSuperclass() != IdempotentHandler.class) {
            type = type.getSuperclass();
        }
        if (type.getGenericSuperclass() instanceof ParameterizedType generic
                && !(generic.getActualTypeArguments()[1] instanceof java.lang.reflect.TypeVariable)) {
            return generic.getActualTypeArguments()[1];
        }
        throw new IllegalStateException(type.getName() + " has to name its types: extends IdempotentHandler<Order, Receipt>");
    }
}
