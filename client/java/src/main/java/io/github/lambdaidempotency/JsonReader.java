package io.github.lambdaidempotency;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads JSON (RFC 8259), and nothing else, into null, Boolean, String, List, Map, Long, and where that is too small
 * BigInteger; numbers with a fraction or an exponent are BigDecimal, so that all keep their digits.
 */
final class JsonReader {
    // Deeper than anything the sidecar takes as a key, and shallow enough for any thread's stack.
    private static final int MAX_DEPTH = 500;

    private final String text;
    private int at;

    private JsonReader(String text) {
        this.text = text;
    }

    /** The value of a text. */
    static Object read(String text) {
        JsonReader reader = new JsonReader(text);
        Object value = reader.value(0);
        reader.end();
        return value;
    }

    /** The members of an object, each as the text it has. */
    static Map<String, String> members(String text) {
        JsonReader reader = new JsonReader(text);
        reader.space();
        Map<String, String> members = new LinkedHashMap<>();
        reader.object(0, null, members);
        reader.end();
        return members;
    }

    private Object value(int depth) {
        if (depth > MAX_DEPTH) {
            throw wrong("nesting over " + MAX_DEPTH + " levels");
        }
        space();
        switch (peek()) {
            case '{':
                Map<String, Object> map = new LinkedHashMap<>();
                object(depth, map, null);
                return map;
            case '[':
                return list(depth);
            case '"':
                return string();
            case 't':
                return word("true", Boolean.TRUE);
            case 'f':
                return word("false", Boolean.FALSE);
            case 'n':
                return word("null", null);
            default:
                return number();
        }
    }

    /** Puts the members' values into the one, or their texts into the other. */
    private void object(int depth, Map<String, Object> values, Map<String, String> texts) {
        expect('{');
        space();
        if (peek() == '}') {
            at++;
            return;
        }
        while (true) {
            space();
            String name = string();
            space();
            expect(':');
            space();
            int from = at;
            Object value = value(depth + 1);
            if (texts == null) {
                values.put(name, value);
            } else {
                texts.put(name, text.substring(from, at));
            }
            space();
            if (peek() != ',') {
                break;
            }
            at++;
        }
        expect('}');
    }

    private List<Object> list(int depth) {
        expect('[');
        List<Object> list = new ArrayList<>();
        space();
        if (peek() == ']') {
            at++;
            return list;
        }
        while (true) {
            list.add(value(depth + 1));
            space();
            if (peek() != ',') {
                break;
            }
            at++;
        }
        expect(']');
        return list;
    }

    private String string() {
        expect('"');
        int from = at;
        while (peek() != '"' && peek() != '\\') {
            plain();
        }
        if (peek() == '"') {
            return text.substring(from, at++);
        }
        StringBuilder string = new StringBuilder(text.length() - from < 64 ? 64 : 256).append(text, from, at);
        while (peek() != '"') {
            if (peek() == '\\') {
                at++;
                string.append(escaped());
            } else {
                string.append(plain());
            }
        }
        at++;
        return string.toString();
    }

    private char plain() {
        char c = peek();
        if (c < ' ') {
            throw wrong("a control character in a string, or its end is missing");
        }
        at++;
        return c;
    }

    private char escaped() {
        char c = peek();
        at++;
        switch (c) {
            case '"':
            case '\\':
            case '/':
                return c;
            case 'b':
                return '\b';
            case 'f':
                return '\f';
            case 'n':
                return '\n';
            case 'r':
                return '\r';
            case 't':
                return '\t';
            case 'u':
                int code = 0;
                for (int i = 0; i < 4; i++) {
                    char hex = peek();
                    int digit = hex < 128 ? Character.digit(hex, 16) : -1;
                    if (digit < 0) {
                        throw wrong("no hexadecimal digit");
                    }
                    code = code * 16 + digit;
                    at++;
                }
                return (char) code;
            default:
                throw wrong("an unknown escape");
        }
    }

    private Number number() {
        int from = at;
        boolean whole = true;
        if (peek() == '-') {
            at++;
        }
        if (peek() == '0') {
            at++;
        } else {
            digits();
        }
        if (peek() == '.') {
            whole = false;
            at++;
            digits();
        }
        if (peek() == 'e' || peek() == 'E') {
            whole = false;
            at++;
            if (peek() == '+' || peek() == '-') {
                at++;
            }
            digits();
        }
        String digits = text.substring(from, at);
        if (whole && digits.length() < 19) {
            return Long.valueOf(digits);
        }
        try {
            if (!whole) {
                return new BigDecimal(digits);
            }
            BigInteger big = new BigInteger(digits);
            return big.bitLength() < 64 ? (Number) big.longValue() : big;
        } catch (NumberFormatException e) {
            throw wrong("a number beyond what can be computed with");
        }
    }

    private void digits() {
        int from = at;
        while (peek() >= '0' && peek() <= '9') {
            at++;
        }
        if (at == from) {
            throw wrong("no value");
        }
    }

    private Object word(String word, Object value) {
        if (!text.startsWith(word, at)) {
            throw wrong("no value");
        }
        at += word.length();
        return value;
    }

    private void space() {
        while (at < text.length() && (text.charAt(at) == ' ' || text.charAt(at) == '\n' || text.charAt(at) == '\r' || text.charAt(at) == '\t')) {
            at++;
        }
    }

    // Past the end a NUL, which JSON has nowhere.
    private char peek() {
        return at < text.length() ? text.charAt(at) : 0;
    }

    private void expect(char c) {
        if (peek() != c) {
            throw wrong("'" + c + "' is missing");
        }
        at++;
    }

    private void end() {
        space();
        if (at < text.length()) {
            throw wrong("something after the value");
        }
    }

    private JsonException wrong(String what) {
        return new JsonException("no JSON: " + what + " at character " + at);
    }
}
