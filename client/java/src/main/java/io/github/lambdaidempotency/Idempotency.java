package io.github.lambdaidempotency;

/**
 * Runs work once per key, through the lambda-idempotency sidecar.
 *
 * <pre>{@code
 * Receipt receipt = Idempotency.key("order-1").context(context).run(Receipt.class, claim -> charge(order));
 * }</pre>
 */
public final class Idempotency {
    private static volatile Client client;

    private Idempotency() {
    }

    /** Runs the work once per key; see {@link Acquire#run}. */
    public static <T, X extends Exception> T run(String key, Class<T> result, Work<? extends T, X> work) throws X {
        return key(key).run(result, work);
    }

    /** The key is a string. */
    public static Acquire key(String key) {
        return Acquire.key(key);
    }

    /** The key is a pair of strings. */
    public static Acquire key(String first, String second) {
        return Acquire.key(Acquire.pair(first, second));
    }

    /** The sidecar selects the key from the event with its IDEMPOTENCY_KEY_JMESPATH; without that, the whole event is the key. */
    public static Acquire event(Object event) {
        return Acquire.event(event, null);
    }

    /** The sidecar selects the key from the event, as {@code [JobId, ObjKey]}. */
    public static Acquire event(Object event, String jmespath) {
        return Acquire.event(event, jmespath);
    }

    /** Makes this the default client. */
    public static void use(Client client) {
        synchronized (Idempotency.class) {
            Idempotency.client = client;
        }
    }

    /** The default client: all calls share its connections. */
    public static Client client() {
        Client known = client;
        if (known != null) {
            return known;
        }
        synchronized (Idempotency.class) {
            if (client == null) {
                client = new Client();
            }
            return client;
        }
    }
}
