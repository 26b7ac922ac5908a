package io.github.lambdaidempotency;

import com.amazonaws.services.lambda.runtime.Context;
import java.lang.reflect.Type;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;

/** A call for the claim on a key, made by {@link Idempotency}. Its options may be given in any order, then it is used once. */
public final class Acquire {
    private final String keyMember;
    private final Object key;
    private final String jmespath;
    private boolean hasPayload;
    private Object payload;
    private String scope;
    private Duration ttl;
    private Duration wait;
    private Duration lease;
    private Instant deadline;
    private String requestId;
    private String clientToken;
    private boolean detached;
    private final List<Class<?>> finalErrors = new ArrayList<>();
    private Client client;

    private Acquire(String keyMember, Object key, String jmespath) {
        this.keyMember = keyMember;
        this.key = key;
        this.jmespath = jmespath;
    }

    static Acquire key(Object key) {
        return new Acquire("key", key, null);
    }

    static Acquire event(Object event, String jmespath) {
        return new Acquire("event", event, jmespath);
    }

    /** What must be the same each time the key is used; may be null. */
    public Acquire payload(Object payload) {
        this.hasPayload = true;
        this.payload = payload;
        return this;
    }

    /** Keeps the keys of different work apart; by default the function's name does. */
    public Acquire scope(String scope) {
        this.scope = scope;
        return this;
    }

    /** For how long the outcome is remembered, in whole seconds. */
    public Acquire ttl(Duration ttl) {
        this.ttl = ttl;
        return this;
    }

    /** How long to wait for its end while another run holds the key. */
    public Acquire wait(Duration wait) {
        this.wait = wait;
        return this;
    }

    /** How long the claim holds, instead of until the deadline. */
    public Acquire lease(Duration lease) {
        this.lease = lease;
        return this;
    }

    /** When this invocation ends at the latest. {@link #context} knows it. */
    public Acquire deadline(Instant deadline) {
        this.deadline = deadline;
        return this;
    }

    /** The invocation's id: the sidecar frees the key when that ends without a word. {@link #context} knows it. */
    public Acquire requestId(String requestId) {
        this.requestId = requestId;
        return this;
    }

    /** Takes the request id and the deadline from Lambda's context. */
    public Acquire context(Context context) {
        if (context == null) { // as unit tests pass it
            return this;
        }
        return requestId(context.getAwsRequestId()).deadline(Instant.now().plusMillis(context.getRemainingTimeInMillis()));
    }

    /** The claim outlives this invocation, for work handed on. Needs {@link #lease}. */
    public Acquire detached() {
        this.detached = true;
        return this;
    }

    /** Makes calls with the same token, 16 to 128 random bytes, one and the same. By default each call has its own. */
    public Acquire clientToken(String clientToken) {
        this.clientToken = clientToken;
        return this;
    }

    /** After errors of these classes the work is not run again. */
    @SafeVarargs
    public final Acquire finalErrors(Class<? extends Throwable>... classes) {
        for (Class<?> type : classes) {
            finalErrors.add(type);
        }
        return this;
    }

    /** Another client than the default. */
    public Acquire client(Client client) {
        this.client = client;
        return this;
    }

    /**
     * Runs the work once per key and returns its result; a duplicate gets the result of the run that was. An error of
     * the work frees the key and is thrown as it was.
     *
     * @throws X what the work throws
     * @throws InProgressException if another run holds the key
     * @throws FailedException if an earlier run failed for good
     * @throws ProblemException and what is derived from it: the sidecar refused, or cannot be reached
     * @throws IllegalArgumentException if the key, event or payload is not JSON, before the work
     * @throws ResultException if the result is not JSON, after the work
     */
    public <T, X extends Exception> T run(Class<T> result, Work<? extends T, X> work) throws X {
        return runAs(result, work);
    }

    /** {@link #run} with a generic type of result, as {@code List<Receipt>}. */
    public <T, X extends Exception> T runAs(Type result, Work<? extends T, X> work) throws X {
        return new Run(client == null ? Idempotency.client() : client, this).execute(result, work);
    }

    /** How long an answer may take, beside what a call takes. */
    Duration waiting() {
        return wait == null ? Duration.ZERO : wait;
    }

    boolean isFinal(Throwable error) {
        for (Class<?> type : finalErrors) {
            if (type.isInstance(error)) {
                return true;
            }
        }
        return false;
    }

    String json(Codec codec) {
        Body body = new Body(codec).value(keyMember, key);
        if (hasPayload) {
            body.value("payload", payload);
        }
        body.string("key_jmespath", jmespath).string("scope", scope).string("request_id", requestId)
                .number("ttl_seconds", ttl == null ? null : ttl.toSeconds())
                .number("wait_ms", wait == null ? null : wait.toMillis())
                .number("lease_ms", lease == null ? null : lease.toMillis())
                .number("deadline_ms", deadline == null || lease != null ? null : deadline.toEpochMilli())
                .string("client_token", clientToken == null ? ClientToken.random() : clientToken);
        if (detached) {
            body.raw("detached", "true");
        }
        return body.end();
    }

    static Object pair(String first, String second) {
        return List.of(first, second);
    }
}
