import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.time.DateTimeException;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import spanwire.Envelope;

/** Values that came as JSON text, written by their columns' types. */
final class JsonText {
  private static final Pattern INTEGER = Pattern.compile("\"(-?[0-9]{1,19})\"|(-?[0-9]+)");
  private static final Pattern INSTANT =
      Pattern.compile("\"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\\.([0-9]{1,9}))?(?:Z|\\+00:00)\"");

  private enum Scalar { UNKNOWN, BOOL, INTEGER, REAL, TEXT, NUMERIC, JSON, BYTES, TIMESTAMP }

  private JsonText() {}

  /** The values of an object's JSON text; what does not fit its column, or has none, is its text. */
  static Map<String, String> typed(String text, Canonical.Role role) {
    Map<String, String> object = Canonical.object();
    Scanner scanner = new Scanner(text);
    scanner.expect('{');
    if (scanner.take('}')) {
      return object;
    }
    do {
      String name = unquoted(scanner.value()).orElseThrow();
      scanner.expect(':');
      String raw = scanner.value();
      Form form = role.forms.get(name);
      Optional<String> value =
          form == null ? Optional.empty() : raw.equals("null") ? Optional.of("null") : form.read(raw);
      object.putIfAbsent(name, value.orElseGet(() -> Canonical.quote(raw)));
    } while (scanner.take(','));
    return object;
  }

  /** How values of a column are read. */
  static final class Form {
    private final Scalar scalar;
    private final boolean isArray;

    Form(Envelope.Type.Reader type) {
      isArray = type.getCode() == Envelope.TypeCode.ARRAY && type.hasArrayElement();
      scalar = scalar(isArray ? type.getArrayElement() : type);
    }

    private static Scalar scalar(Envelope.Type.Reader type) {
      if (type.getAnnotation() == Envelope.TypeAnnotation.PG_OID) {
        return Scalar.INTEGER;
      }
      return switch (type.getCode()) {
        case BOOL -> Scalar.BOOL;
        case INT64, ENUM -> Scalar.INTEGER;
        case FLOAT64, FLOAT32 -> Scalar.REAL;
        case STRING, DATE, INTERVAL, UUID -> Scalar.TEXT;
        case NUMERIC -> Scalar.NUMERIC;
        case JSON -> Scalar.JSON;
        case BYTES, PROTO -> Scalar.BYTES;
        case TIMESTAMP -> Scalar.TIMESTAMP;
        default -> Scalar.UNKNOWN;
      };
    }

    /** The JSON of a value that is not null; nothing where it does not fit. */
    Optional<String> read(String raw) {
      if (!isArray) {
        return JsonText.read(scalar, raw);
      }
      Scanner scanner = new Scanner(raw);
      List<String> found = new ArrayList<>();
      if (!scanner.take('[')) {
        return Optional.empty();
      }
      if (scanner.take(']')) {
        return Optional.of("[]");
      }
      do {
        String element = scanner.value();
        boolean isNull = element.equals("null") || scalar == Scalar.INTEGER && element.equals("\"NULL\"");
        Optional<String> value =
            isNull
                ? Optional.of("null")
                : scalar == Scalar.UNKNOWN ? Optional.of(Canonical.quote(element)) : JsonText.read(scalar, element);
        if (value.isEmpty()) {
          return value;
        }
        found.add(value.get());
      } while (scanner.take(','));
      return Optional.of(Canonical.bracketed(found));
    }
  }

  private static Optional<String> read(Scalar scalar, String raw) {
    return switch (scalar) {
      case BOOL -> Optional.of(raw).filter(word -> word.equals("true") || word.equals("false"));
      case INTEGER -> integer(raw);
      case REAL -> real(raw);
      case TEXT -> text(raw);
      case NUMERIC -> isNumber(raw) ? Optional.of(Canonical.quote(raw)) : text(raw);
      case JSON -> raw.startsWith("\"") ? text(raw) : Optional.of(Canonical.quote(raw));
      case BYTES -> unquoted(raw).filter(JsonText::isBase64).map(Canonical::quote);
      case TIMESTAMP -> timestamp(raw);
      case UNKNOWN -> Optional.empty();
    };
  }

  private static Optional<String> integer(String raw) {
    Matcher parts = INTEGER.matcher(raw);
    if (!parts.matches()) {
      return Optional.empty();
    }
    BigInteger number = new BigInteger(parts.group(1) != null ? parts.group(1) : parts.group(2));
    return number.bitLength() < 64 ? Optional.of(Canonical.integer(number.longValue())) : Optional.empty();
  }

  private static Optional<String> real(String raw) {
    return switch (raw) {
      case "\"NaN\"" -> Optional.of(Canonical.real(Double.NaN));
      case "\"Infinity\"" -> Optional.of(Canonical.real(Double.POSITIVE_INFINITY));
      case "\"-Infinity\"" -> Optional.of(Canonical.real(Double.NEGATIVE_INFINITY));
      default ->
          Optional.of(raw).filter(JsonText::isNumber).map(Double::valueOf).filter(Double::isFinite).map(Canonical::real);
    };
  }

  private static Optional<String> text(String raw) {
    return unquoted(raw).map(Canonical::quote);
  }

  /** Java's decoder is lenient: only what encodes back to itself will do. */
  private static boolean isBase64(String text) {
    try {
      return Base64.getEncoder().encodeToString(Base64.getDecoder().decode(text)).equals(text);
    } catch (IllegalArgumentException notBase64) {
      return false;
    }
  }

  private static Optional<String> timestamp(String raw) {
    Matcher parts = INSTANT.matcher(raw);
    if (!parts.matches() || parts.group(1).startsWith("0000")) {
      return Optional.empty();
    }
    try {
      LocalDateTime.parse(parts.group(1));
    } catch (DateTimeException noSuchMoment) {
      return Optional.empty();
    }
    String fraction = parts.group(2) == null ? "" : parts.group(2);
    return Optional.of(Canonical.quote(parts.group(1) + "." + fraction + "0".repeat(9 - fraction.length()) + "Z"));
  }

  private static boolean isNumber(String raw) {
    return raw.charAt(0) == '-' || Character.isDigit(raw.charAt(0));
  }

  /** A string's content; nothing where it is no string, or has half a surrogate pair. */
  private static Optional<String> unquoted(String raw) {
    if (!raw.startsWith("\"")) {
      return Optional.empty();
    }
    StringBuilder out = new StringBuilder(raw.length());
    for (int at = 1; at < raw.length() - 1; at++) {
      char unit = raw.charAt(at);
      if (unit != '\\') {
        out.append(unit);
        continue;
      }
      unit = raw.charAt(++at);
      if (unit == 'u') {
        out.append((char) Integer.parseInt(raw, at + 1, at + 5, 16));
        at += 4;
      } else {
        out.append("\"\\/\b\f\n\r\t".charAt("\"\\/bfnrt".indexOf(unit)));
      }
    }
    String text = out.toString();
    return StandardCharsets.UTF_8.newEncoder().canEncode(text) ? Optional.of(text) : Optional.empty();
  }

  /** Walks JSON text that is known to be JSON. */
  private static final class Scanner {
    private final String text;
    private int at = 0;

    Scanner(String text) {
      this.text = text;
    }

    /** Steps over a token, and the space around it, if it is next. */
    boolean take(char token) {
      space();
      if (at >= text.length() || text.charAt(at) != token) {
        return false;
      }
      at++;
      space();
      return true;
    }

    void expect(char token) {
      if (!take(token)) {
        throw new IllegalArgumentException("JSON text without its " + token);
      }
    }

    /** The text of the next value. */
    String value() {
      int begin = at;
      int depth = 0;
      do {
        char next = text.charAt(at);
        if (next == '"') {
          string();
        } else if (next == '{' || next == '[') {
          depth++;
          at++;
        } else if (next == '}' || next == ']') {
          depth--;
          at++;
        } else if (depth > 0) {
          at++;
        } else {
          while (at < text.length() && ",]} \t\n\r".indexOf(text.charAt(at)) < 0) {
            at++;
          }
        }
      } while (depth > 0);
      return text.substring(begin, at);
    }

    private void string() {
      for (at++; text.charAt(at) != '"'; at++) {
        if (text.charAt(at) == '\\') {
          at++;
        }
      }
      at++;
    }

    private void space() {
      while (at < text.length() && " \t\n\r".indexOf(text.charAt(at)) >= 0) {
        at++;
      }
    }
  }
}
