package io.github.lambdaidempotency;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class JsonTest {
    enum Size { SMALL, LARGE }

    private record Line(String name, int count, Size size) {
    }

    private record Order(String id, BigDecimal amount, List<Line> lines, Map<String, Long> stock, Boolean paid) {
    }

    @ParameterizedTest
    @ValueSource(strings = {"null", "true", "false", "0", "-1", "12345678901234567890123", "9223372036854775807", "2.50", "1E+3", "-0.1",
            "\"\"", "\"é☃𝄞\"", "[]", "{}", "[[],{\"\":[1,{\"a\":null}]}]", "{\"b\":1,\"a\":\"\\u0000\\u001f\\\\\\\"\"}", "\"\\ud800\"", "\"a\\udc00b\""})
    void whatIsReadIsWrittenAsItWas(String text) {
        assertEquals(text, JsonWriter.write(JsonReader.read(text)));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", " ", "nul", "truex", "01", "-", "+1", "1.", ".5", "1e", "1e+", "0x1", "NaN", "Infinity", "'a'", "\"", "\"a", "\"\t\"",
            "\"\\x\"", "\"\\u12g4\"", "\"\\u12\"", "\"\\", "[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,}",
            "{a:1}", "{1:1}", "{\"a\" 1}", "1 1", "[]]", "\u00a01", "\"\\u\u0661\u0661\u0661\u0661\""})
    void whatIsNoJsonIsRefused(String text) {
        assertThrows(JsonException.class, () -> JsonReader.read(text));
        assertThrows(JsonException.class, () -> JsonReader.members("{\"a\":" + text + ",\"b\":2}"));
    }

    @Test
    void escapesAndWhiteSpace() {
        assertEquals(Arrays.asList("\"\\/\b\f\n\r\té\ud834\udd1e", 1L, null),
                JsonReader.read(" [\t\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD834\\udd1e\" ,\r\n1 , null ] "));
    }

    @Test
    void numbersKeepTheirDigits() {
        assertEquals(List.of(9007199254740993L, new BigInteger("-9223372036854775809"), Long.MIN_VALUE, new BigDecimal("0.10000000000000000001")),
                JsonReader.read("[9007199254740993,-9223372036854775809,-9223372036854775808,0.10000000000000000001]"));
    }

    @Test
    void membersKeepTheirText() {
        assertEquals(Map.of("a", "{ \"b\" : 1.0e1 }", "c", "\"\\u0041\""), JsonReader.members(" {\"a\": { \"b\" : 1.0e1 } , \"\\u0063\":\"\\u0041\"} "));
    }

    @Test
    void nestingHasAnEnd() {
        assertThrows(JsonException.class, () -> JsonReader.read("[".repeat(1_000_000)));
        assertThrows(JsonException.class, () -> JsonReader.read("{\"a\":".repeat(1_000_000)));
        List<Object> loop = new ArrayList<>();
        loop.add(loop);
        assertThrows(JsonException.class, () -> JsonWriter.write(loop));
        assertEquals(400, JsonWriter.write(JsonReader.read("[".repeat(200) + "]".repeat(200))).length());
    }

    @Test
    void theBuiltInCodecKnowsRecords() throws Exception {
        Codec codec = new JsonCodec();
        Order order = new Order("é", new BigDecimal("2.50"), List.of(new Line("a", 3, Size.LARGE)), Map.of("x", 1L), null);
        String text = codec.toJson(order);
        assertEquals("{\"id\":\"é\",\"amount\":2.50,\"lines\":[{\"name\":\"a\",\"count\":3,\"size\":\"LARGE\"}],\"stock\":{\"x\":1},\"paid\":null}", text);
        assertEquals(order, codec.fromJson(text, Order.class));
    }

    @Test
    void theBuiltInCodecWritesWhatIsJson() {
        assertEquals("[1,2.5,\"c\",[true],{\"SMALL\":\"LARGE\"},\"text\",1.5,-3]", JsonWriter.write(new Object[] {
            (short) 1, 2.5f, 'c', new boolean[] {true}, Map.of(Size.SMALL, Size.LARGE), new StringBuilder("text"), 1.5, (byte) -3}));
        for (Object value : new Object[] {new Object(), Double.NaN, Float.NEGATIVE_INFINITY, Map.of(1, 2), java.time.Instant.EPOCH, List.of(new Thread()),
            new java.util.concurrent.atomic.AtomicInteger()}) {
            assertThrows(JsonException.class, () -> JsonWriter.write(value), String.valueOf(value));
        }
    }

    @Test
    void theBuiltInCodecConvertsExactlyOrNotAtAll() throws Exception {
        Codec codec = new JsonCodec();
        assertEquals(3, codec.fromJson("3", Integer.class));
        assertEquals(3L, codec.fromJson("3.0", long.class));
        assertEquals(0.1, codec.fromJson("0.1", Double.class));
        assertEquals(0.5f, codec.fromJson("0.5", float.class));
        assertEquals(BigInteger.TEN, codec.fromJson("10", BigInteger.class));
        assertEquals('x', codec.fromJson("\"x\"", char.class));
        assertEquals((byte) 1, codec.fromJson("1", byte.class));
        assertEquals((short) 1, codec.fromJson("1", short.class));
        assertEquals(true, codec.fromJson("true", boolean.class));
        assertEquals(List.of(1L), codec.fromJson("[1]", List.class));
        assertEquals(null, codec.fromJson("null", Order.class));
        Object[][] misfits = {{"3000000000", Integer.class}, {"1.5", Long.class}, {"null", int.class}, {"\"a\"", Integer.class}, {"1", String.class},
            {"\"MEDIUM\"", Size.class}, {"[]", Order.class}, {"{}", Line.class}, {"{}", Thread.class}, {"1", Boolean.class}, {"300", byte.class},
            {"\"xy\"", char.class}, {"1.5", BigInteger.class}, {"70000", short.class}};
        for (Object[] misfit : misfits) {
            assertThrows(JsonException.class, () -> codec.fromJson((String) misfit[0], (Class<?>) misfit[1]), (String) misfit[0]);
        }
    }
}
