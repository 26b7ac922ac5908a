import com.amazonaws.services.lambda.runtime.ClientContext;
import com.amazonaws.services.lambda.runtime.CognitoIdentity;
import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.LambdaLogger;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.util.Arrays;
import java.util.Map;

/** Runs the handlers beside it and prints what that took, as JSON: cold before|after bare, or calls WARM ROUNDS. */
public class Driver {
    static final String RUN = Long.toString(System.nanoTime(), 36) + ProcessHandle.current().pid();

    public static void main(String[] args) throws Exception {
        if (args[0].equals("cold")) {
            cold(args[1].equals("after") ? "After" : "Before");
        } else {
            calls(Integer.parseInt(args[1]), Integer.parseInt(args[2]));
        }
    }

    @SuppressWarnings("unchecked")
    static RequestHandler<Map<String, Object>, Map<String, Object>> handler(String name) throws Exception {
        return (RequestHandler<Map<String, Object>, Map<String, Object>>) Class.forName(name).getConstructor().newInstance();
    }

    static void cold(String which) throws Exception {
        Map<String, Object> event = event(0);
        Context context = new Invocation(0);
        long begin = System.nanoTime();
        RequestHandler<Map<String, Object>, Map<String, Object>> handler = handler(which);
        long loaded = System.nanoTime();
        handler.handleRequest(event, context);
        long called = System.nanoTime();
        System.out.println("{\"load_ns\": " + (loaded - begin) + ", \"call_ns\": " + (called - loaded) + "}");
    }

    static void calls(int warm, int rounds) throws Exception {
        RequestHandler<Map<String, Object>, Map<String, Object>> plain = handler("Before");
        RequestHandler<Map<String, Object>, Map<String, Object>> guarded = handler("After");
        long[] plains = new long[2 * rounds];
        long[] firsts = new long[rounds];
        long[] duplicates = new long[rounds];
        for (int number = 0; number < warm + rounds; number++) {
            Map<String, Object> event = event(number);
            Context context = new Invocation(number);
            long a = System.nanoTime();
            Map<String, Object> result = plain.handleRequest(event, context);
            long b = System.nanoTime();
            Map<String, Object> first = guarded.handleRequest(event, context);
            long c = System.nanoTime();
            Map<String, Object> again = plain.handleRequest(event, context);
            long d = System.nanoTime();
            Map<String, Object> duplicate = guarded.handleRequest(event, context);
            long e = System.nanoTime();
            if (!result.equals(first) || !result.equals(again) || !result.equals(duplicate)) {
                throw new IllegalStateException("the results differ: " + result + first + again + duplicate);
            }
            if (number >= warm) {
                int at = number - warm;
                plains[2 * at] = b - a;
                firsts[at] = c - b;
                plains[2 * at + 1] = d - c;
                duplicates[at] = e - d;
            }
        }
        System.out.println("{\"plain\": " + Arrays.toString(plains) + ", \"first\": " + Arrays.toString(firsts)
                + ", \"duplicate\": " + Arrays.toString(duplicates) + "}");
    }

    static Map<String, Object> event(int number) {
        return Map.of("JobId", RUN + "-" + number, "ObjKey", "a/b");
    }

    record Invocation(int number) implements Context {
        public String getAwsRequestId() { return "request-" + RUN + "-" + number; }
        public int getRemainingTimeInMillis() { return 30_000; }
        public String getLogGroupName() { return null; }
        public String getLogStreamName() { return null; }
        public String getFunctionName() { return "orders"; }
        public String getFunctionVersion() { return "1"; }
        public String getInvokedFunctionArn() { return null; }
        public CognitoIdentity getIdentity() { return null; }
        public ClientContext getClientContext() { return null; }
        public int getMemoryLimitInMB() { return 128; }
        public LambdaLogger getLogger() { return null; }
    }
}
