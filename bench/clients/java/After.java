import com.amazonaws.services.lambda.runtime.Context;
import io.github.lambdaidempotency.*;
import java.util.Map;

public class After extends IdempotentHandler<Map<String, Object>, Map<String, Object>> {
    @Override
    protected Acquire acquire(Map<String, Object> event) {
        return Idempotency.event(event, "[JobId, ObjKey]");
    }

    @Override
    protected Map<String, Object> handle(Map<String, Object> event, Context context, Claim claim) {
        return Map.of("done", event.get("JobId"));
    }
}
