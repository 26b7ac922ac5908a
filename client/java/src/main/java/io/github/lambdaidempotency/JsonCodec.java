package io.github.lambdaidempotency;

import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The built-in codec. Numbers are converted exactly or not at all. */
final class JsonCodec implements Codec {
    @Override
    public String toJson(Object value) {
        return JsonWriter.write(value);
    }

    @Override
    public Object fromJson(String json, Type type) {
        return convert(JsonReader.read(json), type);
    }

    private static Object convert(Object value, Type type) {
        if (type instanceof ParameterizedType generic) {
            Class<?> raw = (Class<?>) generic.getRawType();
            Type[] arguments = generic.getActualTypeArguments();
            if (value instanceof List<?> list && raw.isAssignableFrom(List.class)) {
                List<Object> converted = new ArrayList<>(list.size());
                for (Object element : list) {
                    converted.add(convert(element, arguments[0]));
                }
                return converted;
            }
            if (value instanceof Map<?, ?> map && raw == Map.class && arguments[0] == String.class) {
                Map<Object, Object> converted = new LinkedHashMap<>();
                for (Map.Entry<?, ?> entry : map.entrySet()) {
                    converted.put(entry.getKey(), convert(entry.getValue(), arguments[1]));
                }
                return converted;
            }
            return convert(value, raw);
        }
        if (!(type instanceof Class<?> target)) {
            throw new JsonException(type + " needs a Codec");
        }
        if (value == null) {
            if (target.isPrimitive() && target != void.class) {
                throw new JsonException("null does not fit " + target);
            }
            return null;
        }
        if (target.isInstance(value)) {
            return value;
        }
        Object converted = scalar(value, target);
        if (converted == null && target.isRecord() && value instanceof Map<?, ?> map) {
            converted = record(map, target);
        }
        if (converted == null) {
            throw new JsonException("a " + value.getClass().getSimpleName() + " does not fit " + target.getName() + ", or that needs a Codec");
        }
        return converted;
    }

    /** Null if the value is no scalar, or the target not one that it fits. */
    private static Object scalar(Object value, Class<?> target) {
        if (value instanceof Number number) {
            return number(number, target);
        }
        if (value instanceof Boolean) {
            return target == boolean.class ? value : null;
        }
        if (value instanceof String string) {
            if (target.isEnum()) {
                for (Object constant : target.getEnumConstants()) {
                    if (((Enum<?>) constant).name().equals(string)) {
                        return constant;
                    }
                }
                throw new JsonException(target.getName() + " has no " + string);
            }
            boolean single = target == char.class || target == Character.class;
            return single && string.length() == 1 ? (Object) string.charAt(0) : null;
        }
        return null;
    }

    private static Object number(Number number, Class<?> target) {
        BigDecimal exact = number instanceof BigDecimal decimal ? decimal
                : number instanceof BigInteger integer ? new BigDecimal(integer) : BigDecimal.valueOf(number.longValue());
        try {
            if (target == double.class || target == Double.class) {
                return exact.doubleValue();
            } else if (target == float.class || target == Float.class) {
                return exact.floatValue();
            } else if (target == BigDecimal.class) {
                return exact;
            } else if (target == long.class || target == Long.class) {
                return exact.longValueExact();
            } else if (target == int.class || target == Integer.class) {
                return exact.intValueExact();
            } else if (target == short.class || target == Short.class) {
                return exact.shortValueExact();
            } else if (target == byte.class || target == Byte.class) {
                return exact.byteValueExact();
            } else if (target == BigInteger.class) {
                return exact.toBigIntegerExact();
            }
            return null;
        } catch (ArithmeticException e) {
            throw new JsonException(number + " does not fit " + target.getName());
        }
    }

    private static Object record(Map<?, ?> map, Class<?> target) {
        RecordComponent[] components = target.getRecordComponents();
        Class<?>[] types = new Class<?>[components.length];
        Object[] values = new Object[components.length];
        for (int i = 0; i < components.length; i++) {
            types[i] = components[i].getType();
            values[i] = convert(map.get(components[i].getName()), components[i].getGenericType());
        }
        try {
            Constructor<?> constructor = target.getDeclaredConstructor(types);
            constructor.setAccessible(true);
            return constructor.newInstance(values);
        } catch (InvocationTargetException e) {
            throw new JsonException(target.getName() + " refused it: " + e.getCause());
        } catch (ReflectiveOperationException | RuntimeException e) {
            throw new JsonException(target.getName() + " is closed to reflection and needs a Codec");
        }
    }
}
